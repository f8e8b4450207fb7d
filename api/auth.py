"""API keys, and who may call a route: said by the types in the route's signature.

A key is `ulk_<8 to recognise it by>_<43 random>_<checksum>`, all base 62. The service keeps its HMAC alone, under a key
derived from the service key, so a copy of the database opens nothing.
"""

import hashlib
import hmac
import secrets
import string
import time
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.dependencies import Context, ContextDep
from api.http.problems import Problem
from core.records import keys
from core.settings import Settings

Scope = Literal[
    "files:write",
    "jobs:write",
    "jobs:read",
    "models:write",
    "models:probe",
    "evidence:read",
    "release:write",
    "admin",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)

CACHE_SECONDS = 5.0
"""How long a revoked key may still work on another replica."""
CACHED_KEYS = 10_000

_ALPHABET = string.digits + string.ascii_letters


def _base62(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), 6)


def new_api_key() -> str:
    """A new key with 256 bits of chance."""
    name, secret = ("".join(secrets.choice(_ALPHABET) for _ in range(length)) for length in (8, 43))
    body = f"ulk_{name}_{secret}"
    return f"{body}_{_checksum(body)}"


def is_well_formed(key: str) -> bool:
    """Whether this can be a key at all: a slip of the pen costs no look into the database."""
    body, _, checksum = key.rpartition("_")
    shape = [len(part) for part in key.split("_")] == [3, 8, 43, 6] and key.startswith("ulk_")
    return shape and key.isascii() and hmac.compare_digest(checksum, _checksum(body))


def key_prefix(key: str) -> str:
    """What a person may recognise the key by: `ulk_` and its first 8 characters."""
    return key[:12]


def hash_key(key: str, service_key: bytes) -> bytes:
    """HMAC-SHA256 (32 bytes) of the key, under a key derived from the service key for this use alone."""
    derived = hmac.digest(service_key, b"unlearning-service api keys v1", hashlib.sha256)
    return hmac.digest(derived, key.encode(), hashlib.sha256)


@dataclass(frozen=True)
class Caller:
    """Who is calling."""

    key: str
    organisation: str
    scopes: frozenset[str]

    def has_scope(self, *scopes: Scope) -> bool:
        """Whether the key has any of these scopes; `admin` has all."""
        return "admin" in self.scopes or not self.scopes.isdisjoint(scopes)


class CallerCache:
    """Keys that were looked up a few seconds ago, so that polling does not ask the database who is asking."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    def find(self, digest: bytes) -> Caller | None:
        until, caller = self._known.get(digest, (0.0, None))
        return caller if until > time.monotonic() else None

    def remember(self, digest: bytes, caller: Caller) -> None:
        self._known[digest] = (time.monotonic() + CACHE_SECONDS, caller)
        self._known.move_to_end(digest)
        if len(self._known) > CACHED_KEYS:
            self._known.popitem(last=False)

    def forget(self, key: str) -> None:
        """Drops a key that was revoked here; other replicas learn of it within `CACHE_SECONDS`."""
        for digest in [digest for digest, (_, caller) in self._known.items() if caller.key == key]:
            del self._known[digest]


_bearer = HTTPBearer(auto_error=False, scheme_name="API key", description="`Authorization: Bearer ulk_…`")


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="unlearning service"'})


async def lookup(context: Context, key: str) -> Caller | None:
    """The caller that a key stands for, if it is valid now."""
    if not is_well_formed(key):
        return None
    digest = hash_key(key, context.service_key)
    if caller := context.caller_cache.find(digest):
        return caller
    async with context.sessions() as session:
        row = await keys.find_by_hash(session, digest)
    if row is None:
        return None
    caller = Caller(row.id, row.organisation, frozenset(row.scopes))
    context.caller_cache.remember(digest, caller)
    return caller


async def authenticate(
    request: Request, context: ContextDep, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """The caller. Problem: 401 without a valid key, 429 where the key asks too often."""
    if given is None:
        raise _unauthorized("send an API key: 'Authorization: Bearer <key>'")
    caller = await lookup(context, given.credentials)
    if caller is None:
        raise _unauthorized("the API key is not valid")
    verdict = context.rate_limiter.take(caller.key)
    request.scope["state"]["answer_headers"] = verdict.headers
    request.scope["state"]["key"] = caller.key
    if not verdict.allowed:
        headers = {"Retry-After": str(verdict.retry_after)}
        raise Problem(429, "too-many-requests", f"try again in {verdict.retry_after} s", headers=headers)
    return caller


def _with(*scopes: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    async def check(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
        if not caller.has_scope(*scopes):
            raise Problem(403, "forbidden", f"the API key lacks the scope {' or '.join(scopes)}")
        return caller

    return check


AnyKey = Annotated[Caller, Depends(authenticate)]
FilesRead = Annotated[Caller, Depends(_with("files:write", "jobs:read", "jobs:write"))]
FilesWrite = Annotated[Caller, Depends(_with("files:write"))]
ModelsProbe = Annotated[Caller, Depends(_with("models:probe"))]
ModelsWrite = Annotated[Caller, Depends(_with("models:write"))]
JobsRead = Annotated[Caller, Depends(_with("jobs:read", "jobs:write"))]
JobsWrite = Annotated[Caller, Depends(_with("jobs:write"))]
ReleaseWrite = Annotated[Caller, Depends(_with("release:write"))]
Admin = Annotated[Caller, Depends(_with("admin"))]


def require_release_scope(caller: Caller, what: str) -> None:
    """Problem (403) to whom may not release: `what` lets checkpoints out that the default policy would keep back."""
    if not caller.has_scope("release:write"):
        raise Problem(403, "forbidden", f"the API key lacks the scope release:write: {what}")


@dataclass(frozen=True)
class OperatorKey:
    """A key that a file of the operator's holds, and what it may do."""

    key: str
    name: str
    scopes: tuple[Scope, ...]


RELEASER: tuple[Scope, ...] = ("release:write", "jobs:read", "evidence:read")
"""The scopes of a key for deciding on checkpoints, which cannot submit jobs."""


def operator_keys(settings: Settings) -> list[OperatorKey]:
    """Returns the keys in ADMIN_KEY_FILE and RELEASE_KEY_FILE, as far as these are set.

    Raises ValueError where a file does not hold a key.
    """
    named: list[tuple[str, Path | None, tuple[Scope, ...]]] = [
        ("admin", settings.admin_key_file, ("admin",)),
        ("release", settings.release_key_file, RELEASER),
    ]
    return [
        OperatorKey(_key_in(file, name), f"{name} key file", scopes) for name, file, scopes in named if file is not None
    ]


def _key_in(file: Path, name: str) -> str:
    key = file.read_text().strip()
    if not is_well_formed(key):
        raise ValueError(f"{name.upper()}_KEY_FILE does not hold an API key: 'unlearn keys create' makes them")
    return key


async def accept(context: Context, file: OperatorKey) -> None:
    """Makes the key valid in the organisation `default`; nothing happens where it is already."""
    async with context.sessions.begin() as session:
        await keys.add(
            session,
            organisation=await keys.get_or_create_organisation(session, "default"),
            name=file.name,
            prefix=key_prefix(file.key),
            hash=hash_key(file.key, context.service_key),
            scopes=file.scopes,
        )
