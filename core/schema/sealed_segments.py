"""The form of sealed data: chunked authenticated encryption of uploads, snapshots and what else may tell of a text.

The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance, 2015) over AES-256-GCM. A segment's nonce holds prefix, number and whether the segment is the last.
So a segment that is missing, moved, doubled or from another stream does not open, nor does a stream that was cut short
or appended to.

    sealed  = "ULS1" prefix(7) segment…        segment = AES-256-GCM(up to 64 KiB) with its tag(16)
    nonce   = prefix(7) number(4, big-endian) last(1)
    associated data = "ULS1" context
"""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"ULS1"
PREFIX = 7
HEADER = len(MAGIC) + PREFIX
SEGMENT = 64 << 10
TAG = 16
KEY = 32
SEGMENTS = 1 << 32
"""Most segments of a stream; 256 TiB."""


class NotSealed(Exception):
    """The bytes do not begin as sealed data does."""


class SegmentCipher:
    """Seals or opens the segments of one stream. `header` stands before them."""

    def __init__(self, key: bytes, header: bytes, context: bytes = b"") -> None:
        """`key` has 32 bytes. The stream opens only in the same `context`, such as its file's name. NotSealed."""
        if len(header) != HEADER or not header.startswith(MAGIC):
            raise NotSealed
        self._cipher, self._prefix, self._associated = AESGCM(key), header[len(MAGIC) :], MAGIC + context

    def seal(self, number: int, segment: bytes | bytearray, *, last: bool) -> bytes:
        """Returns the segment, encrypted, and its tag. No two segments of a stream have the same number."""
        return self._cipher.encrypt(self._nonce(number, last=last), segment, self._associated)

    def open(self, number: int, sealed: bytes, *, last: bool) -> bytes:
        """Returns the plain segment. Raises cryptography's InvalidTag where any bit of it or its place differs."""
        return self._cipher.decrypt(self._nonce(number, last=last), sealed, self._associated)

    def _nonce(self, number: int, *, last: bool) -> bytes:
        if number >= SEGMENTS:
            raise ValueError("too much data for one stream")
        return self._prefix + number.to_bytes(4, "big") + bytes([last])


def new_header() -> bytes:
    """Returns the header of a new stream, whose random prefix no other stream under the key has."""
    return MAGIC + os.urandom(PREFIX)
