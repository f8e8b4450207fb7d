"""An upload as it streams in: multipart taken apart, every record checked, sealed and stored in the same breath."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from api.http.encrypted_tempfile import EncryptedTempfile
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
"""Bytes: an ASCII character alone is one token of any tokenizer, and of a text all but the first are scored."""
LONGEST_PURPOSE = 32
LONGEST_NAME = 256


@dataclass
class Upload:
    """What is known of the file once all of it has been read."""

    purpose: Purpose
    filename: str
    format: FileFormat
    size: int
    sha256: str
    records: int
    understood: FileInterpretation


class Form:
    """`multipart/form-data` with the parts `file` and `purpose`, in either order, in constant memory.

    Iterate over `chunks` to the end: it gives the file's bytes and raises Problem or BadRecord at the first fault.
    Then `upload` says what it was.
    """

    def __init__(self, request: Request, *, max_file_bytes: int, max_record_bytes: int) -> None:
        self._request = request
        self._max_file_bytes = max_file_bytes
        self._max_record_bytes = max_record_bytes
        self._parts = _Parts(request.headers.get("content-type", ""))
        self._purpose = bytearray()
        self._content: _Content | None = None
        self.upload: Upload | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._request.stream():
                for part, data in self._parts.feed(piece):
                    if part == "purpose":
                        self._add_purpose(data)
                    elif data:
                        await self._file(part).add(data)
                        yield data
                    else:
                        self._file(part)
            self.upload = await self._complete()
        finally:
            if self._content is not None:
                self._content.close()

    def _add_purpose(self, data: bytes) -> None:
        self._purpose += data
        if len(self._purpose) > LONGEST_PURPOSE:
            raise _bad_purpose()

    def _file(self, part: str) -> "_Content":
        if self._content is None:
            if self._purpose and self._purpose.decode("utf-8", "replace").strip() not in PURPOSES:
                raise _bad_purpose()  # before a large file is read for nothing
            self._content = _Content(
                part.removeprefix("file "), max_bytes=self._max_file_bytes, max_record_bytes=self._max_record_bytes
            )
        return self._content

    async def _complete(self) -> Upload:
        if not self._parts.ended:
            raise Problem(400, "bad-request", "the multipart body is cut short")
        purpose = self._purpose.decode("utf-8", "replace").strip()
        if purpose not in PURPOSES:
            raise _bad_purpose()
        if self._content is None:
            raise unprocessable("/file", "the form has no part named 'file'")
        return await self._content.complete(purpose)


class _Content:
    """The file itself."""

    def __init__(self, filename: str, *, max_bytes: int, max_record_bytes: int) -> None:
        self._kind = detect_file_kind(filename)
        self._filename = filename
        self._max_bytes, self._max_record_bytes = max_bytes, max_record_bytes
        self._hash = hashlib.sha256()
        self._size = self._records = 0
        self._understood = FileInterpretation()
        self._spool = EncryptedTempfile() if self._kind.is_read_whole() else None
        self._reader: RecordReader | None = None
        if self._spool is None:
            self._reader = RecordReader(
                self._kind.format,
                max_record_bytes=max_record_bytes,
                separator=self._kind.separator,
                interpretation=self._understood,
            )

    async def add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._max_bytes:
            detail = f"the file is over the limit of {self._max_bytes} bytes"
            raise Problem(413, "content-too-large", detail)
        # in a thread: hashing and parsing a large body shall not keep others waiting
        self._records += await asyncio.to_thread(self._take, data)

    def _take(self, data: bytes) -> int:
        self._hash.update(data)
        if self._spool is not None:
            self._spool.write(data)
            return 0
        return self._counted(self._reader.feed(data)) if self._reader is not None else 0

    async def complete(self, purpose: Purpose) -> Upload:
        self._records += await asyncio.to_thread(self._finish)
        if self._records == 0:
            raise unprocessable("/file", "the file holds no records", name="empty-file")
        digest = self._hash.hexdigest()
        kind, size = self._kind.format, self._size
        return Upload(purpose, self._filename, kind, size, digest, self._records, self._understood)

    def _finish(self) -> int:
        if self._reader is not None:
            return self._counted(self._reader.close())
        spool = cast(BinaryIO, self._spool)
        limits = {"max_record_bytes": self._max_record_bytes, "max_bytes": self._max_bytes}
        return self._counted(read_records(spool, self._kind, interpretation=self._understood, **limits))

    def _counted(self, numbered: Iterator[tuple[int, Record]]) -> int:
        """Counts the records. Raises BadRecord for a text of one character, which has nothing to train on."""
        count = 0
        for count, (number, record) in enumerate(numbered, start=1):  # noqa: B007 - the last one counts
            if record.is_plain_text and len(record.scored_text.strip().encode()) < SHORTEST_TEXT:
                reason = "the text is a single character: too short to train on or to measure"
                raise BadRecord(number, reason, unit=_UNITS.get(self._kind.format, "line"))
        return count

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()


class _Parts:
    """Bytes of the body in, `(part, bytes)` out; the file's part is named `file <its name>`."""

    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise Problem(400, "bad-request", "the multipart body has no boundary")
        self._found: list[tuple[str, bytes]] = []
        self._seen: set[str] = set()
        self._part = ""
        self._field, self._value = bytearray(), bytearray()
        self._disposition = b""
        self.ended = False
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_part_data": lambda data, start, end: self._found.append((self._part, bytes(data[start:end]))),
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, cast(Any, callbacks))
        except FormParserError:
            raise Problem(400, "bad-request", "the multipart boundary is too long") from None

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        self._found = []
        try:
            self._parser.write(data)
        except FormParserError:
            raise Problem(400, "bad-request", "the body is not valid multipart/form-data") from None
        return self._found

    def _begin(self) -> None:
        self._disposition = b""

    def _header(self) -> None:
        if bytes(self._field).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name not in ("file", "purpose"):
            raise Problem(422, "invalid-request", "the form has the parts 'file' and 'purpose', and no other")
        if name in self._seen:
            raise unprocessable(f"/{name}", "given twice")
        self._seen.add(name)
        self._part = name
        if name == "file":
            given = options.get(b"filename", b"").decode("utf-8", "replace")
            filename = "".join(sign for sign in given.replace("\\", "/").rpartition("/")[2] if sign.isprintable())
            self._part = f"file {filename[-LONGEST_NAME:]}"
        self._found.append((self._part, b""))

    def _end(self) -> None:
        self.ended = True


def _bad_purpose() -> Problem:
    return unprocessable("/purpose", f"say what the file is for: {', '.join(PURPOSES)}")
