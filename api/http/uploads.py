"""A streamed upload: checks every record of the file while its bytes pass through to encryption and storage."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from starlette.requests import Request

from api.http.encrypted_tempfile import EncryptedTempfile
from api.http.multipart import UploadFormParser
from api.http.problems import Problem, unprocessable
from core.schema.bad_record import BadRecord
from core.schema.file_interpretation import FileInterpretation
from core.schema.file_kind import detect_file_kind
from core.schema.files import PURPOSES, FileFormat, Purpose
from core.schema.parsing import RecordReader
from core.schema.record import Record
from core.schema.record_reading import read_records

_UNITS: dict[FileFormat, str] = {"json": "record", "parquet": "row", "arrow": "row"}
SHORTEST_TEXT = 2
"""Bytes. A single ASCII character is one token of any tokenizer, and the first token of a text is not scored."""
LONGEST_PURPOSE = 32
"""Bytes."""


@dataclass
class Upload:
    """A file that was read to its end."""

    purpose: Purpose
    filename: str
    format: FileFormat
    size: int
    sha256: str
    records: int
    interpretation: FileInterpretation


class UploadForm:
    """The upload form of a request, with the parts `file` and `purpose` in either order, in constant memory.

    Iterate over `chunks` to the end: it yields the file's bytes and raises Problem or BadRecord at the first fault.
    After that, `upload` describes the file.
    """

    def __init__(self, request: Request, *, max_file_bytes: int, max_record_bytes: int) -> None:
        self._request = request
        self._max_file_bytes = max_file_bytes
        self._max_record_bytes = max_record_bytes
        self._parser = UploadFormParser(request.headers.get("content-type", ""))
        self._purpose = bytearray()
        self._file: _UploadedFile | None = None
        self.upload: Upload | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for body_chunk in self._request.stream():
                for part, filename, data in self._parser.feed(body_chunk):
                    if part == "purpose":
                        self._add_purpose(data)
                        continue
                    file = self._open_file(filename)
                    if data:
                        await file.add(data)
                        yield data
            self.upload = await self._complete()
        finally:
            if self._file is not None:
                self._file.close()

    def _add_purpose(self, data: bytes) -> None:
        self._purpose += data
        if len(self._purpose) > LONGEST_PURPOSE:
            raise _unknown_purpose()

    def _open_file(self, filename: str) -> "_UploadedFile":
        if self._file is None:
            if self._purpose and self._purpose.decode("utf-8", "replace").strip() not in PURPOSES:
                raise _unknown_purpose()  # now, before a large file is read in vain
            self._file = _UploadedFile(
                filename, max_bytes=self._max_file_bytes, max_record_bytes=self._max_record_bytes
            )
        return self._file

    async def _complete(self) -> Upload:
        if not self._parser.ended:
            raise Problem(400, "bad-request", "the multipart body is cut short")
        purpose = self._purpose.decode("utf-8", "replace").strip()
        if purpose not in PURPOSES:
            raise _unknown_purpose()
        if self._file is None:
            raise unprocessable("/file", "the form has no part named 'file'")
        return await self._file.complete(purpose)


class _UploadedFile:
    """The form's file: counts and checks its records.

    Formats that are read front to back are parsed as their bytes arrive; the other formats wait in an encrypted
    temporary file until all of it is there.
    """

    def __init__(self, filename: str, *, max_bytes: int, max_record_bytes: int) -> None:
        self._kind = detect_file_kind(filename)
        self._filename = filename
        self._max_bytes, self._max_record_bytes = max_bytes, max_record_bytes
        self._hash = hashlib.sha256()
        self._size = self._records = 0
        self._interpretation = FileInterpretation()
        self._tempfile = EncryptedTempfile() if self._kind.is_read_whole() else None
        self._reader: RecordReader | None = None
        if self._tempfile is None:
            self._reader = RecordReader(
                self._kind.format,
                max_record_bytes=max_record_bytes,
                separator=self._kind.separator,
                interpretation=self._interpretation,
            )

    async def add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._max_bytes:
            detail = f"the file is over the limit of {self._max_bytes} bytes"
            raise Problem(413, "content-too-large", detail)
        # in a thread, so that hashing and parsing a large body do not block other requests
        self._records += await asyncio.to_thread(self._read, data)

    async def complete(self, purpose: Purpose) -> Upload:
        self._records += await asyncio.to_thread(self._read_rest)
        if self._records == 0:
            raise unprocessable("/file", "the file holds no records", name="empty-file")
        return Upload(
            purpose,
            self._filename,
            self._kind.format,
            self._size,
            self._hash.hexdigest(),
            self._records,
            self._interpretation,
        )

    def close(self) -> None:
        if self._tempfile is not None:
            self._tempfile.close()

    def _read(self, data: bytes) -> int:
        self._hash.update(data)
        if self._tempfile is not None:
            self._tempfile.write(data)
            return 0
        return self._count(self._reader.feed(data)) if self._reader is not None else 0

    def _read_rest(self) -> int:
        if self._reader is not None:
            return self._count(self._reader.close())
        file = cast(BinaryIO, self._tempfile)
        limits = {"max_record_bytes": self._max_record_bytes, "max_bytes": self._max_bytes}
        return self._count(read_records(file, self._kind, interpretation=self._interpretation, **limits))

    def _count(self, numbered_records: Iterator[tuple[int, Record]]) -> int:
        """Counts the records. Raises BadRecord for a text of one character, which has no token to train on."""
        count = 0
        for count, (number, record) in enumerate(numbered_records, start=1):  # noqa: B007 - the last count is returned
            if record.is_plain_text and len(record.scored_text.strip().encode()) < SHORTEST_TEXT:
                reason = "the text is a single character: too short to train on or to measure"
                raise BadRecord(number, reason, unit=_UNITS.get(self._kind.format, "line"))
        return count


def _unknown_purpose() -> Problem:
    return unprocessable("/purpose", f"say what the file is for: {', '.join(PURPOSES)}")
