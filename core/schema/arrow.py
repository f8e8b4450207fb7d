"""Reads records from Arrow IPC files and streams (Feather version 2), and checks sizes before anything is unpacked.

A stream is a series of messages; a file is the same with a mark before and an index after it (Arrow columnar format,
"Serialization and Interprocess Communication"). A message of some kilobytes may unpack to gigabytes, so its sizes are
read from its metadata before Arrow sees it.
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
"""The largest batch that is read. It is unpacked into memory as a whole."""
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
    """Yields (row, record) of a seekable Arrow IPC file or stream. Raises BadRecord.

    `max_bytes` limits all rows together, unpacked. Memory: one batch, of at most `MAX_BATCH_BYTES` unpacked.
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
    """The messages of the file as a stream. A message is passed on once its sizes are known to be within bounds."""

    def __init__(self, file: BinaryIO, limits: RowLimits) -> None:
        self._file, self._limits = file, limits
        self._end = file.seek(0, os.SEEK_END)
        file.seek(0)
        begin = file.read(len(_FILE))
        if begin.startswith(_FEATHER_1):
            raise BadRecord(1, "Feather version 1: write it as version 2, as pandas and polars do today", unit="row")
        if begin != _FILE:
            file.seek(0)
        self._unread = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._unread:
            self._unread = memoryview(self._next())
        piece = self._unread[: len(buffer)]
        buffer[: len(piece)] = piece
        self._unread = self._unread[len(piece) :]
        return len(piece)

    def _next(self) -> bytes:
        """Returns the next message; empty after the last one."""
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
        self._check_unpacked_size(length)
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
        # each buffer begins with its unpacked size, or -1 where it is not compressed
        sizes = [struct.unpack_from("<q", body, begin)[0] for begin, size in batch.pairs(_BUFFERS, "<qq") if size >= 8]
        self._check_unpacked_size(sum(size for size in sizes if size > 0))

    def _check_unpacked_size(self, size: int) -> None:
        if size > MAX_BATCH_BYTES:
            number, megabytes = self._limits.number + 1, MAX_BATCH_BYTES >> 20
            reason = f"a batch of more than {megabytes} MB unpacked: write batches of fewer rows"
            raise BadRecord(number, reason, unit="row")
