"""Decompresses files piece by piece, with a limit on the ratio of decompressed to compressed size."""

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from core.schema.file_kind import Compression

MAX_RATIO = 100
"""People's text is compressed to a third or a tenth, a table of similar rows to a fiftieth. gzip can reach 1,032."""
RATIO_APPLIES_FROM = 16 << 20
"""Decompressed bytes from which the ratio counts: a small file may repeat one line."""
_PIECE = 1 << 16


def check_decompressed_size(file: BinaryIO, compression: Compression, *, max_bytes: int | None = None) -> None:
    """Raises ValueError where a file decompresses to more than `max_bytes`, or to more than `MAX_RATIO` times its size.

    Nothing is parsed: decompressing alone is a hundred times faster. Damage is left for the reader of the records.
    """
    compressed, total = file.seek(0, os.SEEK_END), 0
    with suppress(DamagedData):
        for piece in decompress(file, compression):
            total += len(piece)
            if max_bytes is not None and total > max_bytes:
                raise ValueError(f"the file is over the limit of {max_bytes} bytes when it is unpacked: upload parts")
            if total > RATIO_APPLIES_FROM and total > MAX_RATIO * compressed:
                raise ValueError(f"the file unpacks to more than {MAX_RATIO} times its size: upload it uncompressed")


class DamagedData(Exception):
    """The compressed data are damaged or cut short; the message says what to do."""


def decompress(file: BinaryIO, compression: Compression) -> Iterator[bytes]:
    """Yields the decompressed file from its start, in pieces of at most 64 KiB; several members follow one another.

    Raises DamagedData.
    """
    import pyarrow

    file.seek(0)
    try:
        stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(_KeptOpen(file), mode="r"), compression)
        while piece := stream.read(_PIECE):
            yield piece
    except (pyarrow.ArrowException, OSError, ValueError):
        message = f"the {compression} data are damaged or cut short here: compress the file again"
        raise DamagedData(message) from None


class _KeptOpen(io.RawIOBase):
    """A file that stays open although Arrow closes what it has read, so that it can be read again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)
