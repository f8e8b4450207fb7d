"""Parses records from JSON Lines, JSON, text and CSV. An error names the line and the reason, never the text."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict

from pydantic import ValidationError
from pydantic_core import from_json  # unlike the json module's, its strings are all valid Unicode

from core.schema.bad_record import BadRecord
from core.schema.csv_layout import CsvRows
from core.schema.encoding import Decoder
from core.schema.file_interpretation import FileInterpretation
from core.schema.files import FileFormat
from core.schema.json_values import JsonValue, JsonValues
from core.schema.record import Record
from core.schema.record_shapes import KNOWN_FIELDS, describe_known_fields, normalize_record

ESCAPES = 8
"""How many times longer a line may be than its record: JSON escapes, and fields that are not counted."""
LONG_PARAGRAPH = 20_000
"""Characters from which a paragraph is probably a file without blank lines, not a record."""


class RecordReader:
    """Takes the bytes of a JSON Lines, JSON, .txt or CSV file in chunks and yields the complete records, numbered.

    A record's number is the line that it begins on; in a JSON file it is counted. Memory: one record. Raises BadRecord.
    `separator` is used where a CSV header has a single column. `interpretation` says how the file was read so far.
    """

    def __init__(
        self,
        format: FileFormat,
        *,
        max_record_bytes: int,
        separator: str = ",",
        interpretation: FileInterpretation | None = None,
    ) -> None:
        if format in ("parquet", "arrow"):
            raise ValueError("columnar files are read from a seekable file: use core.schema.record_reading")
        self.interpretation = interpretation or FileInterpretation()
        self.line = 0
        self._format = format
        self._limit = max_record_bytes
        self._decoder = Decoder(self.interpretation)
        self._take_line = {"jsonl": self._jsonl, "txt": self._txt, "csv": self._csv}.get(format)
        too_long = f"longer than a record of {max_record_bytes} bytes can be"
        self._values = JsonValues(max_characters=ESCAPES * max_record_bytes, too_long=too_long)
        self._rows = CsvRows(self.interpretation, preferred=separator)
        self._pieces: list[str] = []  # of the line that is not complete yet
        self._size = 0
        self._lines: list[str] = []  # of the paragraph or quoted row that is not complete yet
        self._held = self._quotes = 0
        self._first = 0
        self._long: list[int] = []  # first lines of long paragraphs

    def feed(self, chunk: bytes) -> Iterator[tuple[int, Record]]:
        """Yields the records that this chunk completes. Exhaust it before the next call."""
        for text in self._decoder.feed(chunk):
            yield from self._take_text(text)

    def close(self) -> Iterator[tuple[int, Record]]:
        """Yields the records that end with the file."""
        for text in self._decoder.close():
            yield from self._take_text(text)
        if self._take_line is None:
            self._values.close()
            return
        if self._pieces:
            yield from self._end_line("")
        if self._format == "txt":
            yield from self._txt("")
            self._warn_of_long_paragraphs()
        elif self._lines:
            raise BadRecord(self._first, "a quoted cell is not closed")

    def _take_text(self, text: str) -> Iterator[tuple[int, Record]]:
        if self._take_line is None:
            for value in self._values.feed(text):
                yield self._json(value)
            return
        *complete, last = text.split("\n")
        for piece in complete:
            yield from self._end_line(piece)
        if last:
            self._pieces.append(last)
            self._size += len(last)
        if self._size > ESCAPES * self._limit:
            raise self._too_long(self.line + 1)

    def _end_line(self, piece: str) -> Iterator[tuple[int, Record]]:
        self.line += 1
        line = "".join([*self._pieces, piece]).removesuffix("\r")
        self._pieces, self._size = [], 0
        if len(line) > ESCAPES * self._limit:
            raise self._too_long(self.line)
        if self._take_line is not None:
            yield from self._take_line(line)

    def _hold(self, line: str) -> None:
        """Keeps a line of a record that goes on. BadRecord: the record is too long."""
        if not self._lines:
            self._first = self.line
        self._lines.append(line)
        self._held += len(line) + 1
        if self._held > ESCAPES * self._limit:
            raise self._too_long(self._first)

    def _held_text(self) -> str:
        """Takes the lines that were kept."""
        text = "\n".join(self._lines)
        self._lines, self._held, self._quotes = [], 0, 0
        return text

    def _jsonl(self, line: str) -> Iterator[tuple[int, Record]]:
        line = line.lstrip("\ufeff")  # where files that begin with the mark were joined
        if not line.strip():
            return
        if self.line == 1 and line.strip() == "[":
            raise BadRecord(1, "a JSON list: let the file's name end in .json")
        values = parse_json(line, self.line)
        if isinstance(values, list):
            raise BadRecord(self.line, "not an object: a file that is a JSON list has a name that ends in .json")
        yield self.line, self._record(self.line, values)

    def _json(self, value: JsonValue) -> tuple[int, Record]:
        position: _Position = {"unit": "record", "line": value.line}
        values = parse_json(value.text, value.record, **position)
        return value.record, self._record(value.record, values, **position)

    def _txt(self, line: str) -> Iterator[tuple[int, Record]]:
        if line.strip():
            self._hold(line)
        elif self._lines:
            text = self._held_text()
            if len(text) > LONG_PARAGRAPH:
                self._long.append(self._first)
            yield self._first, self._record(self._first, {"text": text})

    def _warn_of_long_paragraphs(self) -> None:
        if self._long:
            count = "1 record is" if len(self._long) == 1 else f"{len(self._long)} records are"
            self.interpretation.warn(
                f"{count} longer than {LONG_PARAGRAPH} characters, the first one beginning at line {self._long[0]}: a"
                " record ends at a blank line, and every figure counts it once; put blank lines between the records"
            )

    def _csv(self, line: str) -> Iterator[tuple[int, Record]]:
        if not self._lines and not line.strip():
            return
        self._hold(line)
        # RFC 4180: quotes come in pairs, so a row with an odd number of them goes on in the next line
        self._quotes += line.count('"')
        if self._quotes % 2:
            return
        values = self._rows.fields(self._first, self._held_text())
        if values is not None:
            yield self._first, self._record(self._first, values)

    def _record(self, number: int, values: Any, *, unit: str = "line", line: int | None = None) -> Record:
        return validate_record(
            number, values, max_record_bytes=self._limit, interpretation=self.interpretation, unit=unit, line=line
        )

    def _too_long(self, number: int) -> BadRecord:
        return BadRecord(number, f"longer than a record of {self._limit} bytes can be")


class _Position(TypedDict):
    unit: str
    line: int


def parse_json(text: str, number: int, *, unit: str = "line", line: int | None = None) -> Any:
    """Parses a JSON value. BadRecord: it is not valid, or an object repeats a key (only the last would count)."""
    try:
        value = from_json(text)
        json.loads(text, object_pairs_hook=_refuse_repeated_keys)
    except _RepeatedKey as repeated:
        raise BadRecord(number, str(repeated), unit=unit, line=line) from None
    except (ValueError, RecursionError):
        raise BadRecord(number, "not valid JSON", unit=unit, line=line) from None
    return value


class _RepeatedKey(Exception):
    pass


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        ((repeated, _),) = Counter(names).most_common(1)
        known = (
            f"the key '{repeated}'" if repeated in KNOWN_FIELDS or repeated in ("role", "from", "value") else "a key"
        )
        raise _RepeatedKey(f"{known} is there twice in one object")


def validate_record(
    number: int,
    values: Any,
    *,
    max_record_bytes: int,
    interpretation: FileInterpretation | None = None,
    unit: str = "line",
    line: int | None = None,
) -> Record:
    """Returns the record. BadRecord: it is not valid; the reason repeats nothing of it."""
    try:
        record = Record.model_validate(normalize_record(values, interpretation or FileInterpretation()))
    except ValidationError as error:
        raise BadRecord(number, _reason(error), unit=unit, line=line) from None
    except ValueError as error:
        raise BadRecord(number, str(error), unit=unit, line=line) from None
    if sum(len(text.encode()) for text in record.all_texts()) > max_record_bytes:
        raise BadRecord(number, f"the record is over the limit of {max_record_bytes} bytes", unit=unit, line=line)
    return record


def _reason(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] == "extra_forbidden":  # the name of an unknown field may be text itself
        return f"a field is not known; {describe_known_fields()}"
    field = ".".join(str(step) for step in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message


def parse_records(
    chunks: Iterable[bytes],
    format: FileFormat,
    *,
    max_record_bytes: int = 1 << 20,
    interpretation: FileInterpretation | None = None,
) -> Iterator[tuple[int, Record]]:
    """Yields (number, record) of a text file that comes in chunks, in constant memory. Raises BadRecord."""
    reader = RecordReader(format, max_record_bytes=max_record_bytes, interpretation=interpretation)
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.close()
