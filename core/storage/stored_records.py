"""Records of stored uploads, decrypted and parsed as the bytes stream."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from typing import cast

from core.records.tables import FileRow
from core.schema.file_kind import FileKind, detect_file_kind
from core.schema.files import FileFormat
from core.schema.parsing import RecordReader
from core.schema.record import Record
from core.schema.record_reading import read_records
from core.storage.file_keys import FileKeys
from core.storage.store import Storage
from core.storage.uploads import read_upload

_UNLIMITED = sys.maxsize
"""Bytes of a record: the limit was enforced at the upload, and may have been lowered since."""


async def stored_records(storage: Storage, file: FileRow, keys: FileKeys) -> AsyncIterator[Record]:
    """The file's records in order. Raises NotStored, SealBroken, BadRecord."""
    chunks = read_upload(storage, file.id, file.wrapped_key, keys)
    # read as at the upload: in the stored format, with the rest of the kind from the file's name
    kind = detect_file_kind(file.filename)._replace(format=cast(FileFormat, file.format))
    if kind.is_read_whole():  # in memory, never on disk
        content = io.BytesIO(b"".join([chunk async for chunk in chunks]))
        for record in await asyncio.to_thread(_parse, content, kind):
            yield record
        return
    reader = RecordReader(kind.format, max_record_bytes=_UNLIMITED, separator=kind.separator)
    async for chunk in chunks:
        for _, record in reader.feed(chunk):
            yield record
    for _, record in reader.close():
        yield record


def _parse(content: io.BytesIO, kind: FileKind) -> list[Record]:
    return [record for _, record in read_records(content, kind, max_record_bytes=_UNLIMITED)]
