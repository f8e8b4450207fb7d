"""Sealing of personal data as it streams in: chunked authenticated encryption, and the wrapping of its keys.

The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance, 2015) over AES-256-GCM. A segment's nonce holds prefix, number and whether the segment is the last.
So a segment that is missing, moved, doubled or from another stream does not open, nor does a stream that was cut short
or appended to.

    sealed  = "ULS1" prefix(7) segment…        segment = AES-256-GCM(up to 64 KiB) with its tag(16)
    nonce   = prefix(7) number(4, big-endian) last(1)
"""

import os
from collections.abc import AsyncIterable, AsyncIterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.storage.store import StorageError, rechunk

MAGIC = b"ULS1"
PREFIX = 7
SEGMENT = 64 << 10
TAG = 16
KEY = 32
NONCE = 12
SEGMENTS = 1 << 32
"""Most segments of a stream; 256 TiB."""

WRAP_MAGIC = b"ULW1"


class SealBroken(StorageError):
    """Sealed data or a wrapped key does not open: altered, cut short, or not made with this key and context."""


def new_data_key() -> bytes:
    """A fresh key of 32 bytes, for one file."""
    return AESGCM.generate_key(KEY * 8)


async def seal(chunks: AsyncIterable[bytes], key: bytes) -> AsyncIterator[bytes]:
    """The sealed form of the chunks, a segment at a time; `key` is 32 bytes."""
    cipher = AESGCM(key)
    prefix = os.urandom(PREFIX)
    yield MAGIC + prefix
    number = 0
    pending: bytes | None = None  # a segment is known to be the last only when no other follows
    async for piece in rechunk(chunks, SEGMENT):
        if pending is not None:
            yield cipher.encrypt(_nonce(prefix, number, last=False), pending, MAGIC)
            number += 1
        pending = piece
    yield cipher.encrypt(_nonce(prefix, number, last=True), pending or b"", MAGIC)


async def open_sealed(chunks: AsyncIterable[bytes], key: bytes) -> AsyncIterator[bytes]:
    """The plain data of a sealed stream, a segment at a time; each piece is authentic and in its place.

    Raises SealBroken. A missing end shows only at the end: the caller throws away the pieces before the error."""
    cipher = AESGCM(key)
    number = 0
    prefix = b""
    pending: bytes | None = None
    async for piece in _header_then_segments(chunks):
        if not prefix:
            prefix = _prefix(piece)
            continue
        if pending is not None:
            yield _open(cipher, prefix, number, pending, last=False)
            number += 1
        pending = piece
    if pending is None:
        raise SealBroken("sealed data is cut short")
    yield _open(cipher, prefix, number, pending, last=True)


def sealed_size(size: int) -> int:
    """How many bytes `seal` makes of `size` bytes."""
    return len(MAGIC) + PREFIX + size + TAG * max(1, -(-size // SEGMENT))


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


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    if number >= SEGMENTS:
        raise StorageError("too much data for one key")
    return prefix + number.to_bytes(4, "big") + bytes([last])


def _prefix(header: bytes) -> bytes:
    if len(header) != len(MAGIC) + PREFIX or not header.startswith(MAGIC):
        raise SealBroken("not sealed data")
    return header[len(MAGIC) :]


def _open(cipher: AESGCM, prefix: bytes, number: int, segment: bytes, *, last: bool) -> bytes:
    try:
        return cipher.decrypt(_nonce(prefix, number, last=last), segment, MAGIC)
    except InvalidTag:
        raise SealBroken("sealed data does not open") from None


async def _header_then_segments(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The header's bytes first, then sealed segments."""
    source = aiter(chunks)
    received = bytearray()
    header = len(MAGIC) + PREFIX
    async for chunk in source:
        received += chunk
        if len(received) >= header:
            break
    yield bytes(received[:header])

    async def body() -> AsyncIterator[bytes]:
        yield bytes(received[header:])
        async for chunk in source:
            yield chunk

    async for segment in rechunk(body(), SEGMENT + TAG):
        yield segment
