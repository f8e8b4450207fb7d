"""Records out of uploaded files as they are stored: decrypted and parsed as they stream."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Iterator
from typing import cast

from core.records.tables import FileRow
from core.schema.file_kind import detect_file_kind
from core.schema.files import FileFormat
from core.schema.parsing import RecordReader
from core.schema.record import Record
from core.schema.record_reading import read_records
from core.storage.store import Storage
from core.storage.uploads import read_upload

_UNLIMITED = sys.maxsize
"""The limit on a record's bytes was kept when the file came in, and may have been lowered since."""


async def stored_records(storage: Storage, file: FileRow, service_key: bytes) -> AsyncIterator[Record]:
    """The file's records in order. Raises NotStored, SealBroken, BadRecord."""
    opened = read_upload(storage, file.id, file.wrapped_key, service_key)
    # as it came in: by the format of then, and what the name says beside
    kind = detect_file_kind(file.filename)._replace(format=cast(FileFormat, file.format))
    if kind.is_read_whole():  # in memory, never on disk
        whole = io.BytesIO(b"".join([piece async for piece in opened]))
        for record in await asyncio.to_thread(lambda: _only(read_records(whole, kind, max_record_bytes=_UNLIMITED))):
            yield record
        return
    reader = RecordReader(kind.format, max_record_bytes=_UNLIMITED, separator=kind.separator)
    async for piece in opened:
        for _, record in reader.feed(piece):
            yield record
    for _, record in reader.close():
        yield record


def _only(numbered: Iterator[tuple[int, Record]]) -> list[Record]:
    return [record for _, record in numbered]
