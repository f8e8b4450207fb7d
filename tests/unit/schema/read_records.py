"""Reads a file's bytes for the tests, whole or cut."""

import io
from typing import Any

from core.schema.bad_record import BadRecord
from core.schema.file_interpretation import FileInterpretation
from core.schema.file_kind import detect_file_kind
from core.schema.parsing import RecordReader
from core.schema.record_reading import read_records


def read(name: str, body: str | bytes, **limits: Any) -> tuple[list[dict[str, Any]], FileInterpretation]:
    """The records of a file of this name, and how it was read."""
    interpretation = FileInterpretation()
    file = io.BytesIO(body if isinstance(body, bytes) else body.encode())
    numbered = list(read_records(file, detect_file_kind(name), interpretation=interpretation, **limits))
    return [record.model_dump(exclude_none=True) for _, record in numbered], interpretation


def outcome(
    name: str, body: bytes, size: int, *, max_record_bytes: int = 1 << 20
) -> tuple[list[Any], str, FileInterpretation]:
    """The numbered records of the body cut into pieces of `size`, its fault, and how it was read."""
    kind = detect_file_kind(name)
    reader = RecordReader(kind.format, max_record_bytes=max_record_bytes, separator=kind.separator)
    found: list[Any] = []
    try:
        for at in range(0, len(body), size):
            found += reader.feed(body[at : at + size])
        found += reader.close()
    except BadRecord as bad:
        return found, str(bad), reader.interpretation
    return found, "", reader.interpretation
