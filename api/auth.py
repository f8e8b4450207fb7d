"""API keys: their form, the digests that are stored, and the callers that they stand for.

A key is `ulk_<8 characters that identify it>_<43 random>_<checksum>`, in base 62. The service stores only the key's
HMAC, under a key derived from the service key, so a copy of the database gives no access.
"""

import hashlib
import hmac
import secrets
import string
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from core.records import keys
from core.schema.api_keys import Scope
from core.settings import Settings

RELEASER: tuple[Scope, ...] = ("release:write", "jobs:read", "evidence:read")
"""The scopes of a key for deciding on checkpoints, which cannot submit jobs."""

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
    """Returns a new key with 256 random bits."""
    prefix, secret = ("".join(secrets.choice(_ALPHABET) for _ in range(length)) for length in (8, 43))
    body = f"ulk_{prefix}_{secret}"
    return f"{body}_{_checksum(body)}"


def is_well_formed(key: str) -> bool:
    """Returns whether the form and the checksum are those of a key, so that a typing error costs no database query."""
    body, _, checksum = key.rpartition("_")
    has_form = [len(part) for part in key.split("_")] == [3, 8, 43, 6] and key.startswith("ulk_")
    return has_form and key.isascii() and hmac.compare_digest(checksum, _checksum(body))


def key_prefix(key: str) -> str:
    """Returns the public part by which a person recognises the key: `ulk_` and 8 characters."""
    return key[:12]


def hash_key(key: str, service_key: bytes) -> bytes:
    """Returns the HMAC-SHA256 (32 bytes) of the key, under a key derived from the service key for this use alone."""
    derived = hmac.digest(service_key, b"unlearning-service api keys v1", hashlib.sha256)
    return hmac.digest(derived, key.encode(), hashlib.sha256)


@dataclass(frozen=True)
class Caller:
    """The key that a request came with: its id, its organisation and its scopes."""

    key: str
    organisation: str
    scopes: frozenset[str]

    def has_scope(self, *scopes: Scope) -> bool:
        """Returns whether the key has any of these scopes; `admin` includes all."""
        return "admin" in self.scopes or not self.scopes.isdisjoint(scopes)


class CallerCache:
    """Callers by the digest of their key, for a few seconds, so that polling costs no database query."""

    def __init__(self) -> None:
        self._callers: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    def find(self, digest: bytes) -> Caller | None:
        expiry, caller = self._callers.get(digest, (0.0, None))
        return caller if expiry > time.monotonic() else None

    def remember(self, digest: bytes, caller: Caller) -> None:
        self._callers[digest] = (time.monotonic() + CACHE_SECONDS, caller)
        self._callers.move_to_end(digest)
        if len(self._callers) > CACHED_KEYS:
            self._callers.popitem(last=False)

    def forget(self, key: str) -> None:
        """Drops a key that this process revoked; other replicas forget it within `CACHE_SECONDS`."""
        for digest in [digest for digest, (_, caller) in self._callers.items() if caller.key == key]:
            del self._callers[digest]


async def find_caller(
    key: str, *, sessions: async_sessionmaker[AsyncSession], service_key: bytes, cache: CallerCache
) -> Caller | None:
    """Returns the caller that the key stands for; None: the key is not valid now."""
    if not is_well_formed(key):
        return None
    digest = hash_key(key, service_key)
    if caller := cache.find(digest):
        return caller
    async with sessions() as session:
        row = await keys.find_by_hash(session, digest)
    if row is None:
        return None
    caller = Caller(row.id, row.organisation, frozenset(row.scopes))
    cache.remember(digest, caller)
    return caller


@dataclass(frozen=True)
class OperatorKey:
    """A key that a file of the operator holds, with the scopes that it gets."""

    key: str
    name: str
    scopes: tuple[Scope, ...]


def operator_keys(settings: Settings) -> list[OperatorKey]:
    """Returns the keys in ADMIN_KEY_FILE and RELEASE_KEY_FILE, as far as these are set.

    Raises ValueError where a file does not hold a key.
    """
    files: list[tuple[str, Path | None, tuple[Scope, ...]]] = [
        ("admin", settings.admin_key_file, ("admin",)),
        ("release", settings.release_key_file, RELEASER),
    ]
    return [
        OperatorKey(_read_key(file, name), f"{name} key file", scopes)
        for name, file, scopes in files
        if file is not None
    ]


def _read_key(file: Path, name: str) -> str:
    key = file.read_text().strip()
    if not is_well_formed(key):
        raise ValueError(f"{name.upper()}_KEY_FILE does not hold an API key: 'unlearn keys create' makes them")
    return key


async def add_operator_keys(
    operator_keys: list[OperatorKey], *, sessions: async_sessionmaker[AsyncSession], service_key: bytes
) -> None:
    """Makes the keys valid in the organisation `default`; keys that are valid already stay as they are."""
    for operator_key in operator_keys:
        async with sessions.begin() as session:
            await keys.add(
                session,
                organisation=await keys.get_or_create_organisation(session, "default"),
                name=operator_key.name,
                prefix=key_prefix(operator_key.key),
                hash=hash_key(operator_key.key, service_key),
                scopes=operator_key.scopes,
            )
