"""Sealed files of this machine, written and read from beginning to end in pieces of any size.

The form is that of `core.schema.sealed_segments`. A piece is authentic before the reader hands it out. No more than a
segment of the plain data is held here, so a file may be larger than memory.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.exceptions import InvalidTag

from core.schema.sealed_segments import HEADER, SEGMENT, TAG, NotSealed, SegmentCipher, new_header


class SealBroken(Exception):
    """The file does not open: it was altered or cut short, or belongs to another key or context."""


class SealedWriter:
    """Writes one new file. `with` completes it, flushed to the disk only by `flush_to_disk`. Raises OSError."""

    def __init__(self, path: Path, key: bytes, context: bytes) -> None:
        """`key` has 32 bytes; the file opens only in the same `context`."""
        header = new_header()
        self._cipher = SegmentCipher(key, header, context)
        self._pending = bytearray()
        self._number = 0
        self._file = path.open("xb")
        self._file.write(header)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        with self._file:
            if kind is None:
                self._seal(last=True)

    def write(self, data: bytes | memoryview) -> None:
        """Seals the data as the file's next bytes."""
        left = memoryview(data).cast("B")
        while left:
            if len(self._pending) == SEGMENT:  # it is not the last: more data follows
                self._seal(last=False)
            room = SEGMENT - len(self._pending)
            self._pending += left[:room]
            left = left[room:]

    def _seal(self, *, last: bool) -> None:
        self._file.write(self._cipher.seal(self._number, self._pending, last=last))
        self._number += 1
        self._pending.clear()


class SealedReader:
    """Reads one file inside `with`. Raises SealBroken, OSError."""

    def __init__(self, path: Path, key: bytes, context: bytes) -> None:
        self._file = path.open("rb")
        try:
            self._cipher = SegmentCipher(key, self._file.read(HEADER), context)
        except NotSealed:
            self._file.close()
            raise SealBroken from None
        self._segments = -(-(os.fstat(self._file.fileno()).st_size - HEADER) // (SEGMENT + TAG))
        self._number = 0
        self._opened = memoryview(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read_into(self, target: memoryview) -> None:
        """Fills the target with the next bytes. SealBroken where the file has fewer."""
        target = target.cast("B")
        while target:
            if not self._opened:
                self._opened = self._next()
            count = min(len(target), len(self._opened))
            target[:count] = self._opened[:count]
            target, self._opened = target[count:], self._opened[count:]

    def read(self, size: int) -> bytes:
        """Returns the next bytes, exactly `size`."""
        data = bytearray(size)
        self.read_into(memoryview(data))
        return bytes(data)

    def read_rest(self) -> bytes:
        """Returns all bytes that were not read yet."""
        pieces = [self._opened]
        while self._number < self._segments:
            pieces.append(self._next())
        return b"".join(pieces)

    def verify_rest(self) -> None:
        """Opens all segments that were not read yet, to learn whether the file is whole."""
        self._opened = memoryview(b"")
        while self._number < self._segments:
            self._next()
        if self._number == 0:
            raise SealBroken

    def _next(self) -> memoryview:
        if self._number >= self._segments:
            raise SealBroken
        sealed = self._file.read(SEGMENT + TAG)
        try:
            opened = self._cipher.open(self._number, sealed, last=self._number == self._segments - 1)
        except InvalidTag:
            raise SealBroken from None
        self._number += 1
        return memoryview(opened)


def flush_to_disk(path: Path) -> None:
    """Waits until the file or folder is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
