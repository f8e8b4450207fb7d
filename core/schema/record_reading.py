"""Reads records from a complete file on this machine, of any format and compression."""

from collections.abc import Iterator
from typing import BinaryIO

from core.schema.arrow import arrow_records
from core.schema.bad_record import BadRecord
from core.schema.compression import DamagedData, check_decompressed_size, decompress
from core.schema.file_interpretation import FileInterpretation
from core.schema.file_kind import FileKind
from core.schema.parquet import parquet_records
from core.schema.parsing import RecordReader
from core.schema.record import Record

_PIECE = 1 << 16


def read_records(
    file: BinaryIO,
    kind: FileKind,
    *,
    max_record_bytes: int = 1 << 20,
    max_bytes: int | None = None,
    interpretation: FileInterpretation | None = None,
) -> Iterator[tuple[int, Record]]:
    """Yields (number, record) of a file, read from its start, in constant memory. Raises BadRecord.

    `max_bytes` limits the decompressed file. A columnar file must be seekable.
    """
    interpretation = interpretation or FileInterpretation()
    if kind.format == "parquet":
        return parquet_records(
            file, max_record_bytes=max_record_bytes, max_bytes=max_bytes, interpretation=interpretation
        )
    if kind.format == "arrow":
        return arrow_records(
            file, max_record_bytes=max_record_bytes, max_bytes=max_bytes, interpretation=interpretation
        )
    reader = RecordReader(
        kind.format, max_record_bytes=max_record_bytes, separator=kind.separator, interpretation=interpretation
    )
    return _text_records(file, kind, reader, max_bytes)


def _text_records(
    file: BinaryIO, kind: FileKind, reader: RecordReader, max_bytes: int | None
) -> Iterator[tuple[int, Record]]:
    pieces = iter(lambda: file.read(_PIECE), b"")
    if kind.compression:
        reader.interpretation.compression = kind.compression
        try:
            check_decompressed_size(file, kind.compression, max_bytes=max_bytes)
        except ValueError as too_much:
            raise BadRecord(1, str(too_much)) from None
        pieces = decompress(file, kind.compression)
    while True:
        try:
            piece = next(pieces, None)
        except DamagedData as damaged:
            raise BadRecord(reader.line + 1, str(damaged)) from None
        if piece is None:
            break
        yield from reader.feed(piece)
    yield from reader.close()
