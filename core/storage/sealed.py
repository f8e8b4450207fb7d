"""Sealing of personal data as it streams in (`core.schema.sealed_segments`), and the wrapping of its keys."""

import os
from collections.abc import AsyncIterable, AsyncIterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.schema.sealed_segments import HEADER, KEY, SEGMENT, TAG, NotSealed, SegmentCipher, new_header
from core.storage.store import StorageError, rechunk

NONCE = 12
WRAP_MAGIC = b"ULW1"


class SealBroken(StorageError):
    """Sealed data or a wrapped key does not open: altered, cut short, or not made with this key and context."""


def new_data_key() -> bytes:
    """A fresh key of 32 bytes, for one file."""
    return AESGCM.generate_key(KEY * 8)


async def seal(chunks: AsyncIterable[bytes], key: bytes) -> AsyncIterator[bytes]:
    """The sealed form of the chunks, a segment at a time; `key` is 32 bytes."""
    header = new_header()
    cipher = SegmentCipher(key, header)
    yield header
    number = 0
    pending: bytes | None = None  # a segment is known to be the last only when no other follows
    async for piece in rechunk(chunks, SEGMENT):
        if pending is not None:
            yield cipher.seal(number, pending, last=False)
            number += 1
        pending = piece
    yield cipher.seal(number, pending or b"", last=True)


async def open_sealed(chunks: AsyncIterable[bytes], key: bytes) -> AsyncIterator[bytes]:
    """The plain data of a sealed stream, a segment at a time; each piece is authentic and in its place.

    Raises SealBroken. A missing end shows only at the end: the caller throws away the pieces before the error."""
    number = 0
    cipher: SegmentCipher | None = None
    pending: bytes | None = None
    async for piece in _header_then_segments(chunks):
        if cipher is None:
            cipher = _cipher(key, piece)
            continue
        if pending is not None:
            yield _open(cipher, number, pending, last=False)
            number += 1
        pending = piece
    if cipher is None or pending is None:
        raise SealBroken("sealed data is cut short")
    yield _open(cipher, number, pending, last=True)


def sealed_size(size: int) -> int:
    """How many bytes `seal` makes of `size` bytes."""
    return HEADER + size + TAG * max(1, -(-size // SEGMENT))


def wrap(data_key: bytes, service_key: bytes, context: bytes) -> bytes:
    """The data key, encrypted under the service's key. It opens only in the same `context`, such as the file's id, so
    a row of the database cannot be made to use another row's key."""
    nonce = os.urandom(NONCE)
    return WRAP_MAGIC + nonce + AESGCM(service_key).encrypt(nonce, data_key, WRAP_MAGIC + context)


def unwrap(wrapped: bytes, service_key: bytes, context: bytes) -> bytes:
    """The data key of a wrapped key. Raises SealBroken."""
    body = wrapped.removeprefix(WRAP_MAGIC)
    if body == wrapped or len(body) != NONCE + KEY + TAG:
        raise SealBroken("not a wrapped key")
    try:
        return AESGCM(service_key).decrypt(body[:NONCE], body[NONCE:], WRAP_MAGIC + context)
    except InvalidTag:
        raise SealBroken("a wrapped key does not open") from None


def _cipher(key: bytes, header: bytes) -> SegmentCipher:
    try:
        return SegmentCipher(key, header)
    except NotSealed:
        raise SealBroken("not sealed data") from None


def _open(cipher: SegmentCipher, number: int, segment: bytes, *, last: bool) -> bytes:
    try:
        return cipher.open(number, segment, last=last)
    except InvalidTag:
        raise SealBroken("sealed data does not open") from None


async def _header_then_segments(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The header's bytes first, then sealed segments."""
    source = aiter(chunks)
    received = bytearray()
    async for chunk in source:
        received += chunk
        if len(received) >= HEADER:
            break
    yield bytes(received[:HEADER])

    async def body() -> AsyncIterator[bytes]:
        yield bytes(received[HEADER:])
        async for chunk in source:
            yield chunk

    async for segment in rechunk(body(), SEGMENT + TAG):
        yield segment
