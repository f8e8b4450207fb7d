"""A temporary file that nobody can read: it has no name, and its bytes are under a key that dies with the process."""

import io
import os
import tempfile
from typing import cast

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

BLOCK = 16


class EncryptedTempfile(io.RawIOBase):
    """Written once from front to end, then read from anywhere: what a Parquet file needs, whose index is at its end.

    AES-256-CTR, whose key stream can be entered at any block. No authentication: the file has no name, and no other
    process holds it.
    """

    def __init__(self) -> None:
        # unlinked at once: a crash leaves nothing
        self._file = cast(io.BufferedRandom, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - closed with this
        self._key = os.urandom(32)
        self._encryptor = Cipher(AES(self._key), CTR(bytes(BLOCK))).encryptor()
        self._size = 0
        self._at = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]  # bytes alone come here
        self._file.seek(self._size)
        sealed = self._encryptor.update(data)
        view = memoryview(sealed)
        while view:
            view = view[self._file.write(view) :]
        self._size += len(data)
        return len(data)

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        wanted = min(len(buffer), max(0, self._size - self._at))
        skipped = self._at % BLOCK
        self._file.seek(self._at - skipped)
        sealed = bytearray()
        while len(sealed) < skipped + wanted and (piece := self._file.read(skipped + wanted - len(sealed))):
            sealed += piece
        counter = (self._at // BLOCK).to_bytes(BLOCK, "big")
        plain = Cipher(AES(self._key), CTR(counter)).decryptor().update(bytes(sealed))[skipped:]
        buffer[: len(plain)] = plain
        self._at += len(plain)
        return len(plain)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()
