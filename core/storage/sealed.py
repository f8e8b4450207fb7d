"""Sealing of personal data as it streams in: chunked authenticated encryption, and the wrapping of its keys.

The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance, 2015) over AES-256-GCM. Every segment's nonce is prefix, number and whether it is the last, so a
segment that is missing, moved, doubled or taken from elsewhere, and an end that is cut off or appended to, do not open.

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
"""At most; 256 TiB."""

WRAP_MAGIC = b"ULW1"


class SealBroken(StorageError):
    """What was sealed, or a wrapped key, does not open: altered, cut short, or not made with this key and context."""


def new_data_key() -> bytes:
    """A fresh key of 32 bytes, for one file."""
    return AESGCM.generate_key(KEY * 8)


async def seal(chunks: AsyncIterable[bytes], key: bytes) -> AsyncIterator[bytes]:
    """The sealed form of the chunks, a segment at a time; `key` is 32 bytes."""
    cipher = AESGCM(key)
    prefix = os.urandom(PREFIX)
    yield MAGIC + prefix
    number = 0
    held: bytes | None = None  # a segment is known to be the last only when no other follows
    async for piece in rechunk(chunks, SEGMENT):
        if held is not None:
            yield cipher.encrypt(_nonce(prefix, number, last=False), held, MAGIC)
            number += 1
        held = piece
    yield cipher.encrypt(_nonce(prefix, number, last=True), held or b"", MAGIC)


async def open_sealed(chunks: AsyncIterable[bytes], key: bytes) -> AsyncIterator[bytes]:
    """What was sealed, a segment at a time; every piece that comes out is what went in, in its place.

    Raises SealBroken. That an end is missing shows at the end only: what came before the error must be thrown away."""
    cipher = AESGCM(key)
    number = 0
    prefix = b""
    held: bytes | None = None
    async for piece in _header_then_segments(chunks):
        if not prefix:
            prefix = _prefix(piece)
            continue
        if held is not None:
            yield _open(cipher, prefix, number, held, last=False)
            number += 1
        held = piece
    if held is None:
        raise SealBroken("sealed data is cut short")
    yield _open(cipher, prefix, number, held, last=True)


def sealed_size(size: int) -> int:
    """How many bytes `seal` makes of so many."""
    return len(MAGIC) + PREFIX + size + TAG * max(1, -(-size // SEGMENT))


def wrap(data_key: bytes, service_key: bytes, context: bytes) -> bytes:
    """The data key under the service's key. It opens in the same `context` only (the file's id, say), so that a row
    of the database cannot be made to use another's key."""
    nonce = os.urandom(NONCE)
    return WRAP_MAGIC + nonce + AESGCM(service_key).encrypt(nonce, data_key, WRAP_MAGIC + context)


def unwrap(wrapped: bytes, service_key: bytes, context: bytes) -> bytes:
    """The data key again. Raises SealBroken."""
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
    start = bytearray()
    header = len(MAGIC) + PREFIX
    async for chunk in source:
        start += chunk
        if len(start) >= header:
            break
    yield bytes(start[:header])

    async def rest() -> AsyncIterator[bytes]:
        yield bytes(start[header:])
        async for chunk in source:
            yield chunk

    async for piece in rechunk(rest(), SEGMENT + TAG):
        yield piece
