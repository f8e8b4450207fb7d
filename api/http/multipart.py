"""Parser of the upload form: `multipart/form-data` with the parts `file` and `purpose`, as its bytes arrive."""

from typing import Any, NamedTuple, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.http.problems import Problem, unprocessable

LONGEST_NAME = 256


class PartData(NamedTuple):
    """Bytes of a part; the first PartData of each part is empty. `filename` belongs to the part `file`."""

    part: str
    filename: str
    data: bytes


class UploadFormParser:
    """Takes the bytes of the body and returns those of the parts. `ended`: the form is complete."""

    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise Problem(400, "bad-request", "the multipart body has no boundary")
        self._parsed: list[PartData] = []
        self._seen: set[str] = set()
        self._part, self._filename = "", ""
        self._header_name, self._header_value = bytearray(), bytearray()
        self._disposition = b""
        self.ended = False
        callbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": lambda data, start, end: self._append(bytes(data[start:end])),
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, cast(Any, callbacks))
        except FormParserError:
            raise Problem(400, "bad-request", "the multipart boundary is too long") from None

    def feed(self, data: bytes) -> list[PartData]:
        """Returns what these bytes of the body hold of the parts. Problem: 400, 422."""
        self._parsed = []
        try:
            self._parser.write(data)
        except FormParserError:
            raise Problem(400, "bad-request", "the body is not valid multipart/form-data") from None
        return self._parsed

    def _append(self, data: bytes) -> None:
        self._parsed.append(PartData(self._part, self._filename, data))

    def _begin_part(self) -> None:
        self._disposition = b""

    def _end_header(self) -> None:
        if bytes(self._header_name).lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        part = options.get(b"name", b"").decode("utf-8", "replace")
        if part not in ("file", "purpose"):
            raise Problem(422, "invalid-request", "the form has the parts 'file' and 'purpose', and no other")
        if part in self._seen:
            raise unprocessable(f"/{part}", "given twice")
        self._seen.add(part)
        self._part = part
        if part == "file":
            path = options.get(b"filename", b"").decode("utf-8", "replace")
            name = path.replace("\\", "/").rpartition("/")[2]
            self._filename = "".join(character for character in name if character.isprintable())[-LONGEST_NAME:]
        self._append(b"")

    def _end(self) -> None:
        self.ended = True
