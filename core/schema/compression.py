"""Compressed files unpacked piece by piece, with a limit on what may come out of a small one."""

import os
from collections.abc import Iterator
from typing import BinaryIO

from core.schema.file_kind import Compression

MAX_RATIO = 500
"""Text that people write is packed to a third or a tenth, lists of equal lines to a hundredth; gzip can do 1,032."""
RATIO_APPLIES_FROM = 16 << 20
"""Bytes that come out before the ratio counts: little files may be of one line over and over."""
_PIECE = 1 << 16


def unpacked(file: BinaryIO, compression: Compression, *, max_bytes: int | None = None) -> Iterator[bytes]:
    """The file's content from its start, in pieces of at most 64 KiB, several members one after the other.

    ValueError with a reason: the data are damaged or cut short, or unpack to more than `max_bytes` or `MAX_RATIO`.
    """
    import pyarrow

    packed = file.seek(0, os.SEEK_END)
    file.seek(0)
    total = 0
    damaged = f"the {compression} data are damaged or cut short here: compress the file again"
    try:
        stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), compression)
    except (pyarrow.ArrowException, OSError, ValueError):
        raise ValueError(damaged) from None
    while True:
        try:
            piece: bytes = stream.read(_PIECE)
        except (pyarrow.ArrowException, OSError, ValueError):
            raise ValueError(damaged) from None
        if not piece:
            return
        total += len(piece)
        if max_bytes is not None and total > max_bytes:
            raise ValueError(f"the file is over the limit of {max_bytes} bytes when it is unpacked: upload it in parts")
        if total > RATIO_APPLIES_FROM and total > MAX_RATIO * packed:
            raise ValueError(f"the file unpacks to more than {MAX_RATIO} times its size: upload it uncompressed")
        yield piece
