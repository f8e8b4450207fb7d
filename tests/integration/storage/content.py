"""Bytes that the tests write to storages."""

import secrets
from collections.abc import AsyncIterator

from core.storage.postgres import CHUNK

DATA = secrets.token_bytes(5 * CHUNK)
LARGE = DATA * 4


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def cut(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
