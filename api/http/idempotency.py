"""`Idempotency-Key`: a POST that creates something creates it once, however often it is sent."""

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
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from starlette.responses import Response

from api.auth import Caller
from api.http.problems import Problem
from core.records import idempotency

log = structlog.get_logger()

KEY = re.compile(r"[\x21-\x7e]{1,255}")
STORED_HEADERS = ("location", "content-type")

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="any text of up to 255 visible ASCII characters; for a day, a request with the same key and body"
        " gets the first answer again, marked `Idempotency-Replayed: true`",
        examples=["7d2f3c1e-dsr-2026-0142"],
    ),
]


async def body_digest(request: Request) -> bytes:
    """Returns the SHA-256 of the body as it was sent."""
    return hashlib.sha256(await request.body()).digest()


class Idempotency:
    """Runs the requests that carry an `Idempotency-Key`, and gives repeated requests the stored answer."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], service_key: bytes) -> None:
        self._sessions = sessions
        self._service_key = service_key

    async def run_once(
        self, request: Request, caller: Caller, digest: bytes, create: Callable[[AsyncSession], Awaitable[Response]]
    ) -> Response:
        """Returns the answer of `create`, which works in the given transaction; the answer is stored in the same one.

        `digest` identifies the request's content. A request that fails or is refused stores nothing and frees the key.
        Raises KeyReused (422), KeyBusy (409).
        """
        key = request.headers.get("idempotency-key")
        if key is None:
            async with self._sessions.begin() as session:
                return await create(session)
        if KEY.fullmatch(key) is None:
            raise Problem(422, "invalid-request", "an Idempotency-Key is 1 to 255 visible ASCII characters")
        token, cipher = secrets.token_hex(16), _AnswerCipher(self._service_key, caller.organisation, key)
        # a caller does not get the answers of another API key of the organisation
        ids = {"organisation": caller.organisation, "key": hashlib.sha256(f"{caller.key} {key}".encode()).hexdigest()}
        try:
            async with self._sessions.begin() as session:
                route = f"{request.method} {request.url.path}"
                stored = await idempotency.begin(session, **ids, route=route[:256], body_digest=digest, token=token)
            if stored is not None:
                headers = {**stored.headers, "Idempotency-Replayed": "true"}
                return Response(cipher.decrypt(stored.body), stored.status, headers)
            async with self._sessions.begin() as session:
                answer = await create(session)
                headers = {name: answer.headers[name] for name in STORED_HEADERS if name in answer.headers}
                body = cipher.encrypt(bytes(answer.body))
                await idempotency.store_answer(
                    session, **ids, token=token, status=answer.status_code, headers=headers, body=body
                )
            return answer
        except (idempotency.KeyBusy, idempotency.KeyReused):  # the key is not this request's
            raise
        except BaseException:  # a client that leaves cancels the request
            await asyncio.shield(self._free(ids, token))
            raise

    async def _free(self, ids: dict[str, str], token: str) -> None:
        """Frees the key of a request that failed. Where the database is down, the key's lease frees it later."""
        try:
            async with self._sessions.begin() as session:
                await idempotency.discard(session, **ids, token=token)
        except (SQLAlchemyError, OSError) as error:
            log.warning("idempotency_key_not_freed", error=type(error).__name__)


class _AnswerCipher:
    """Encrypts stored answers: the answer to `POST /v1/keys` holds a key, which is stored in plain text nowhere."""

    def __init__(self, service_key: bytes, organisation: str, key: str) -> None:
        self._cipher = AESGCM(hmac.digest(service_key, b"unlearning-service kept answers v1", hashlib.sha256))
        self._associated_data = f"{organisation} {key}".encode()

    def encrypt(self, body: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, body, self._associated_data)

    def decrypt(self, sealed: bytes) -> bytes:
        return self._cipher.decrypt(sealed[:12], sealed[12:], self._associated_data)
