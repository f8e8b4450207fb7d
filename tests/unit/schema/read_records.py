"""Reads a file's bytes for the tests, whole or cut."""

import io
from typing import Any

from core.schema.bad_record import BadRecord
from core.schema.file_kind import kind_of
from core.schema.parsing import RecordReader
from core.schema.record_reading import records_in
from core.schema.understood import Understood


def read(name: str, body: str | bytes, **limits: Any) -> tuple[list[dict[str, Any]], Understood]:
    """The records of a file of this name, and how it was read."""
    understood = Understood()
    file = io.BytesIO(body if isinstance(body, bytes) else body.encode())
    numbered = list(records_in(file, kind_of(name), understood=understood, **limits))
    return [record.model_dump(exclude_none=True) for _, record in numbered], understood


def outcome(name: str, body: bytes, size: int, *, max_record_bytes: int = 1 << 20) -> tuple[list[Any], str, Understood]:
    """The numbered records of the body cut into pieces of `size`, its fault, and how it was read."""
    kind = kind_of(name)
    reader = RecordReader(kind.format, max_record_bytes=max_record_bytes, separator=kind.separator)
    found: list[Any] = []
    try:
        for at in range(0, len(body), size):
            found += reader.feed(body[at : at + size])
        found += reader.close()
    except BadRecord as bad:
        return found, str(bad), reader.understood
    return found, "", reader.understood
