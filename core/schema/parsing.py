"""From bytes to records: JSON Lines, text and CSV. An error names the line and the reason, never the text."""

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json  # unlike the json module's, its strings are all valid Unicode

from core.schema.files import FileFormat, Record

COLUMNS: tuple[str, ...] = tuple(Record.model_fields)
NESTED = ("messages", "paraphrases", "wrong")
"""Columns that hold lists: as JSON in a CSV cell, as lists in Parquet."""

ESCAPES = 8
"""A line may be so many times longer than the record in it: JSON escapes, and fields that are not counted."""

SUFFIXES: dict[str, FileFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "txt",
    ".csv": "csv",
    ".parquet": "parquet",
}

# rows are bounded before the csv module sees them; its own bound of 128 KiB a cell is the whole process's to lift
csv.field_size_limit(1 << 31 - 1)


class BadRecord(ValueError):
    """A line (of a Parquet file: a row) that is no record. Counted from 1."""

    def __init__(self, number: int, reason: str, *, unit: str = "line") -> None:
        super().__init__(f"{unit} {number}: {reason}")
        self.number = number
        self.reason = reason


def format_of(filename: str) -> FileFormat | None:
    """The format that a file's name promises."""
    return next((format for suffix, format in SUFFIXES.items() if filename.lower().endswith(suffix)), None)


class RecordReader:
    """Takes the bytes of a JSON Lines, .txt or CSV file as they come and gives the records that are complete.

    Memory: one record. Raises BadRecord. `number` is the line a record begins on.
    """

    def __init__(self, format: FileFormat, *, max_record_bytes: int) -> None:
        if format == "parquet":
            raise ValueError("a Parquet file is read from its end: use core.schema.parquet")
        self._take = {"jsonl": self._jsonl, "txt": self._txt, "csv": self._csv}[format]
        self._format = format
        self._limit = max_record_bytes
        self._rest = bytearray()
        self._line = 0
        self._lines: list[str] = []  # of the paragraph or quoted row that is not complete yet
        self._held = self._quotes = 0
        self._first = 0
        self._columns: list[str] | None = None

    def feed(self, chunk: bytes) -> Iterator[tuple[int, Record]]:
        """The records that this chunk completes; to be exhausted before the next one."""
        *whole, last = chunk.split(b"\n")
        for piece in whole:
            self._rest += piece
            line, self._rest = bytes(self._rest), bytearray()
            yield from self._next(line)
        self._rest += last
        if len(self._rest) > ESCAPES * self._limit:
            raise self._too_long(self._line + 1)

    def close(self) -> Iterator[tuple[int, Record]]:
        """The records that end with the file."""
        if self._rest:
            line, self._rest = bytes(self._rest), bytearray()
            yield from self._next(line)
        if self._format == "txt":
            yield from self._take("")
        elif self._lines:
            raise BadRecord(self._first, "a quoted cell is not closed")

    def _next(self, line: bytes) -> Iterator[tuple[int, Record]]:
        self._line += 1
        if len(line) > ESCAPES * self._limit:
            raise self._too_long(self._line)
        try:
            text = line.decode("utf-8-sig" if self._line == 1 else "utf-8")
        except UnicodeDecodeError:
            raise BadRecord(self._line, "not valid UTF-8") from None
        yield from self._take(text.removesuffix("\r"))

    def _hold(self, line: str) -> None:
        """Keeps a line of a record that goes on, within bounds."""
        if not self._lines:
            self._first = self._line
        self._lines.append(line)
        self._held += len(line) + 1
        if self._held > ESCAPES * self._limit:
            raise self._too_long(self._first)

    def _held_text(self) -> str:
        text = "\n".join(self._lines)
        self._lines, self._held, self._quotes = [], 0, 0
        return text

    def _jsonl(self, line: str) -> Iterator[tuple[int, Record]]:
        if line.strip():
            try:
                values = from_json(line)
            except ValueError:
                raise BadRecord(self._line, "not valid JSON") from None
            yield self._line, self._record(self._line, values)

    def _txt(self, line: str) -> Iterator[tuple[int, Record]]:
        if line.strip():
            self._hold(line)
        elif self._lines:
            yield self._first, self._record(self._first, {"text": self._held_text()})

    def _csv(self, line: str) -> Iterator[tuple[int, Record]]:
        if not self._lines and not line.strip():
            return
        self._hold(line)
        # RFC 4180: quotes come in pairs, so a row with an odd number of them goes on in the next line
        self._quotes += line.count('"')
        if self._quotes % 2:
            return
        number, text = self._first, self._held_text()
        try:
            (cells,) = csv.reader([text], strict=True)
        except (csv.Error, ValueError):
            raise BadRecord(number, "not a CSV row (RFC 4180)") from None
        if self._columns is None:
            self._columns = _header(number, cells)
            return
        if len(cells) != len(self._columns):
            raise BadRecord(number, f"{len(cells)} cells where the header has {len(self._columns)}")
        filled = {column: cell for column, cell in zip(self._columns, cells, strict=True) if cell}
        yield number, self._record(number, {name: _cell(number, name, cell) for name, cell in filled.items()})

    def _record(self, number: int, values: Any) -> Record:
        return checked_record(number, values, max_record_bytes=self._limit)

    def _too_long(self, number: int) -> BadRecord:
        return BadRecord(number, f"longer than a record of {self._limit} bytes can be")


def _header(number: int, cells: list[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in cells]
    if len(set(columns)) != len(columns) or not set(columns) <= set(COLUMNS):
        raise BadRecord(number, f"the first line names the columns, each once, out of: {', '.join(COLUMNS)}")
    return columns


def _cell(number: int, name: str, cell: str) -> Any:
    if name not in NESTED:
        return cell
    try:
        return from_json(cell)
    except ValueError:
        raise BadRecord(number, f"the cell of '{name}' is not valid JSON") from None


def checked_record(number: int, values: Any, *, max_record_bytes: int, unit: str = "line") -> Record:
    """The record, or BadRecord with a reason that repeats nothing of it."""
    if not isinstance(values, dict):
        raise BadRecord(number, "not an object", unit=unit)
    try:
        record = Record.model_validate(values)
    except ValidationError as error:
        raise BadRecord(number, _reason(error), unit=unit) from None
    if sum(len(text.encode()) for text in record.strings()) > max_record_bytes:
        raise BadRecord(number, f"the record is over the limit of {max_record_bytes} bytes", unit=unit)
    return record


def _reason(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] == "extra_forbidden":  # the name of an unknown field may be text itself
        return f"a field is not known; a record has: {', '.join(COLUMNS)}"
    place = ".".join(str(step) for step in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def records(
    chunks: Iterable[bytes], format: FileFormat, *, max_record_bytes: int = 1 << 20
) -> Iterator[tuple[int, Record]]:
    """(line, record) of a file that comes in chunks, in constant memory; not for Parquet. Raises BadRecord."""
    reader = RecordReader(format, max_record_bytes=max_record_bytes)
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.close()
