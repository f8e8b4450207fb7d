"""`Idempotency-Key`: a POST that makes something makes it once, however often it is sent."""

import asyncio
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated

import structlog
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Header, Request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from api.auth import Caller
from api.dependencies import Context
from api.http.problems import Problem
from core.records import idempotency

log = structlog.get_logger()

KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEPT_HEADERS = ("location", "content-type")

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="any text of up to 255 visible ASCII characters: the same key and body give the same answer again,"
        " marked `Idempotency-Replayed: true`, for a day",
        examples=["7d2f3c1e-dsr-2026-0142"],
    ),
]


async def body_digest(request: Request) -> bytes:
    """sha256 of the body as it was sent."""
    return hashlib.sha256(await request.body()).digest()


async def once(
    context: Context,
    caller: Caller,
    request: Request,
    digest: bytes,
    make: Callable[[AsyncSession], Awaitable[Response]],
) -> Response:
    """The answer of `make`, which works in the given transaction: what it makes and the kept answer commit together.

    A request that fails or is refused keeps nothing and frees the key. Raises KeyReused (422), KeyBusy (409).
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        async with context.sessions.begin() as session:
            return await make(session)
    if KEY.fullmatch(key) is None:
        raise Problem(422, "invalid-request", "an Idempotency-Key is 1 to 255 visible ASCII characters")
    token, box = secrets.token_hex(16), _Box(context.service_key, caller.organisation, key)
    # a key that another of the organisation's API keys has used is not this caller's to replay
    names = {"organisation": caller.organisation, "key": hashlib.sha256(f"{caller.key} {key}".encode()).hexdigest()}
    async with context.sessions.begin() as session:
        route = f"{request.method} {request.url.path}"
        kept = await idempotency.begin(session, **names, route=route[:256], body_digest=digest, token=token)
    if kept is not None:
        headers = {**kept.headers, "Idempotency-Replayed": "true"}
        return Response(box.open(kept.body), kept.status, headers)
    try:
        async with context.sessions.begin() as session:
            answer = await make(session)
            headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
            body = box.close(bytes(answer.body))
            await idempotency.store_answer(
                session, **names, token=token, status=answer.status_code, headers=headers, body=body
            )
        return answer
    except BaseException:  # a client that leaves cancels the request
        await asyncio.shield(_free(context, names, token))
        raise


async def _free(context: Context, names: dict[str, str], token: str) -> None:
    """Frees the key of the request that failed. Where the database is away, the key's lease frees it later."""
    try:
        async with context.sessions.begin() as session:
            await idempotency.discard(session, **names, token=token)
    except (SQLAlchemyError, OSError) as error:
        log.warning("idempotency_key_not_freed", error=type(error).__name__)


class _Box:
    """Kept answers are sealed: the one to `POST /v1/keys` holds a key, which is stored in the clear nowhere."""

    def __init__(self, service_key: bytes, organisation: str, key: str) -> None:
        self._cipher = AESGCM(hmac.digest(service_key, b"unlearning-service kept answers v1", hashlib.sha256))
        self._context = f"{organisation} {key}".encode()

    def close(self, body: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, body, self._context)

    def open(self, sealed: bytes) -> bytes:
        return self._cipher.decrypt(sealed[:12], sealed[12:], self._context)
