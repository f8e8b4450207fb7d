"""A temporary file that no other process can read: unnamed, and encrypted under a key that ends with the process."""

import io
import os
import tempfile
from typing import cast

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

BLOCK = 16


class EncryptedTempfile(io.RawIOBase):
    """A file that is written front to end and then read at any place, as Parquet needs, whose index is at the end.

    AES-256-CTR, whose key stream can start at any block. Without authentication, because no other process can open the
    file.
    """

    def __init__(self) -> None:
        # the file has no name, so a crash leaves nothing behind
        self._file = cast(io.BufferedRandom, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - closed with this object
        self._key = os.urandom(32)
        self._encryptor = Cipher(AES(self._key), CTR(bytes(BLOCK))).encryptor()
        self._size = 0
        self._position = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]  # callers write bytes only
        self._file.seek(self._size)
        sealed = self._encryptor.update(data)
        view = memoryview(sealed)
        while view:
            view = view[self._file.write(view) :]
        self._size += len(data)
        return len(data)

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        count = min(len(buffer), max(0, self._size - self._position))
        offset = self._position % BLOCK
        self._file.seek(self._position - offset)
        sealed = bytearray()
        while len(sealed) < offset + count and (chunk := self._file.read(offset + count - len(sealed))):
            sealed += chunk
        counter = (self._position // BLOCK).to_bytes(BLOCK, "big")
        plaintext = Cipher(AES(self._key), CTR(counter)).decryptor().update(bytes(sealed))[offset:]
        buffer[: len(plaintext)] = plaintext
        self._position += len(plaintext)
        return len(plaintext)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence])
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()
