"""Records out of Arrow IPC files and streams (Feather version 2), within bounds that are kept before unpacking.

Both are the same messages one after the other, a file with a mark before and an index behind (Arrow columnar format,
"Serialization and Interprocess Communication"). A message of some kilobytes may unpack to gigabytes, so each one's
sizes are read off its metadata before Arrow sees it.
"""

import io
import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from core.schema.arrow_columns import RowLimits, batch_records, check_columns
from core.schema.bad_record import BadRecord
from core.schema.file_interpretation import FileInterpretation
from core.schema.flatbuffer import Table, root_table
from core.schema.record import Record

MAX_BATCH_BYTES = 256 << 20
"""A batch is in memory as a whole."""
_MAX_METADATA_BYTES = 16 << 20
_FILE, _FEATHER_1, _MESSAGE = b"ARROW1\0\0", b"FEA1", b"\xff\xff\xff\xff"
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_MESSAGE_KIND, _MESSAGE_HEADER, _BODY_LENGTH = 1, 2, 3  # fields of Message in Arrow's Message.fbs
_BATCH_LENGTH, _BUFFERS, _COMPRESSION = 0, 2, 3  # of RecordBatch
_DICTIONARY_DATA = 1  # of DictionaryBatch


def arrow_records(
    file: BinaryIO,
    *,
    max_record_bytes: int = 1 << 20,
    max_bytes: int | None = None,
    interpretation: FileInterpretation | None = None,
) -> Iterator[tuple[int, Record]]:
    """(row, record) of an Arrow IPC file or stream that can be sought in. Raises BadRecord.

    `max_bytes` is the limit on all rows together, unpacked. Memory: a batch, of at most `MAX_BATCH_BYTES` unpacked.
    """
    import pyarrow

    limits = RowLimits(max_record_bytes=max_record_bytes, max_bytes=max_bytes)
    unreadable = BadRecord(1, "not a readable Arrow file: write it again", unit="row")
    try:
        stream = pyarrow.ipc.open_stream(pyarrow.PythonFile(_Messages(file, limits), mode="r"))
        check_columns(stream.schema)
    except BadRecord:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, struct.error):
        raise unreadable from None
    while True:
        try:
            rows = stream.read_next_batch()
            rows.validate(full=True)  # offsets from outside point anywhere
        except StopIteration:
            return
        except (pyarrow.ArrowException, OSError, ValueError, struct.error) as error:
            raise error if isinstance(error, BadRecord) else limits.damaged() from None
        yield from batch_records(rows, limits, interpretation or FileInterpretation())


class _Messages(io.RawIOBase):
    """The messages of the file as a stream, each given when its sizes are known to be within bounds."""

    def __init__(self, file: BinaryIO, limits: RowLimits) -> None:
        self._file, self._limits = file, limits
        self._end = file.seek(0, os.SEEK_END)
        file.seek(0)
        begin = file.read(len(_FILE))
        if begin.startswith(_FEATHER_1):
            raise BadRecord(1, "Feather version 1: write it as version 2, as pandas and polars do today", unit="row")
        if begin != _FILE:
            file.seek(0)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._next())
        piece = self._rest[: len(buffer)]
        buffer[: len(piece)] = piece
        self._rest = self._rest[len(piece) :]
        return len(piece)

    def _next(self) -> bytes:
        """The next message whole, empty after the last one."""
        begin = self._file.read(8)
        if not begin or begin == _MESSAGE + bytes(4):
            return b""
        if len(begin) < 8 or begin[:4] != _MESSAGE:
            raise BadRecord(1, "not an Arrow file of format 1.0 or later: write it again", unit="row")
        (size,) = struct.unpack("<i", begin[4:])
        if not 0 < size <= _MAX_METADATA_BYTES:
            raise self._limits.damaged()
        metadata = self._file.read(size)
        message = root_table(metadata)
        length = message.number(_BODY_LENGTH, "q")
        if not 0 <= length <= self._end - self._file.tell():
            raise self._limits.damaged()
        self._refuse_too_much(length)
        body = self._file.read(length)
        kind, header = message.number(_MESSAGE_KIND, "B"), message.table(_MESSAGE_HEADER)
        if kind == _DICTIONARY_BATCH and header is not None:
            header = header.table(_DICTIONARY_DATA)
        if kind in (_DICTIONARY_BATCH, _RECORD_BATCH) and header is not None:
            self._check_batch(header, body)
        return begin + metadata + body

    def _check_batch(self, batch: Table, body: bytes) -> None:
        rows = batch.number(_BATCH_LENGTH, "q")
        if self._limits.max_bytes is not None and rows > self._limits.max_bytes:
            raise BadRecord(1, f"the records are over the limit of {self._limits.max_bytes} bytes", unit="row")
        if batch.table(_COMPRESSION) is None:
            return
        # each buffer says before its bytes how many come out of it, or -1 where they are as they are
        told = [struct.unpack_from("<q", body, begin)[0] for begin, size in batch.pairs(_BUFFERS, "<qq") if size >= 8]
        self._refuse_too_much(sum(size for size in told if size > 0))

    def _refuse_too_much(self, size: int) -> None:
        if size > MAX_BATCH_BYTES:
            number, megabytes = self._limits.number + 1, MAX_BATCH_BYTES >> 20
            reason = f"a batch of more than {megabytes} MB unpacked: write batches of fewer rows"
            raise BadRecord(number, reason, unit="row")
