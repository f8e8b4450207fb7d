"""Reads records from bytes for the tests, complete or in chunks."""

import io
from typing import Any

from core.schema.bad_record import BadRecord
from core.schema.file_interpretation import FileInterpretation
from core.schema.file_kind import detect_file_kind
from core.schema.parsing import RecordReader
from core.schema.record_reading import read_records


def read(name: str, body: str | bytes, **limits: Any) -> tuple[list[dict[str, Any]], FileInterpretation]:
    """Returns the records of a file of this name, and how it was read."""
    interpretation = FileInterpretation()
    file = io.BytesIO(body if isinstance(body, bytes) else body.encode())
    numbered = list(read_records(file, detect_file_kind(name), interpretation=interpretation, **limits))
    return [record.model_dump(exclude_none=True) for _, record in numbered], interpretation


def outcome(
    name: str, body: bytes, size: int, *, max_record_bytes: int = 1 << 20
) -> tuple[list[Any], str, FileInterpretation]:
    """Returns the numbered records of a body cut into chunks of `size`, its fault, and how it was read."""
    kind = detect_file_kind(name)
    reader = RecordReader(kind.format, max_record_bytes=max_record_bytes, separator=kind.separator)
    records: list[Any] = []
    try:
        for start in range(0, len(body), size):
            records += reader.feed(body[start : start + size])
        records += reader.close()
    except BadRecord as bad:
        return records, str(bad), reader.interpretation
    return records, "", reader.interpretation
