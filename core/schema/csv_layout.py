"""The layout of a CSV file: its separator, the columns that its header names, and the cells of a row."""

import csv
import re
from contextlib import suppress
from typing import Any

from pydantic_core import from_json

from core.schema.bad_record import BadRecord
from core.schema.file_interpretation import FileInterpretation
from core.schema.record_shapes import INDEX_FIELDS, KNOWN_FIELDS, LIST_FIELDS, SHAPES, describe_known_fields

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_EXCEL_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?[,;\t|]*')
_LISTS_OR_TEXT = LIST_FIELDS - {"messages", "paraphrases", "wrong", "conversations", "conversation"}
_PAIRS = [shape.fields.keys() for shape in SHAPES if len(shape.fields) > 1]
"""Fields whose names stand in one row only where that row is a header."""

# rows are bounded before the csv module sees them; its own bound of 128 KiB a cell can only be lifted for the process
csv.field_size_limit(1 << 31 - 1)


class CsvRows:
    """The rows of a CSV file, taken in order: the first one is the header. Raises BadRecord."""

    def __init__(self, interpretation: FileInterpretation, *, preferred: str = ",") -> None:
        self._interpretation = interpretation
        self._signs = sorted(SEPARATORS, key=lambda sign: sign != preferred)
        self._separator: str | None = None  # until the header tells
        self._columns: list[str] | None = None

    def fields(self, number: int, row: str) -> dict[str, Any] | None:
        """Returns the cells that are not empty, by column; None for the header. `number` is the row's first line."""
        if self._columns is None:
            if self._separator is None and (line := _EXCEL_SEPARATOR_LINE.fullmatch(row)):
                self._separator = line.group(1)
                return None
            self._columns = self._header(number, row)
            return None
        cells = _cells(number, row, self._separator or ",")
        self._refuse_second_header(number, cells)
        if len(cells) != len(self._columns):
            reason = f"{len(cells)} cells where the header has {len(self._columns)}"
            raise BadRecord(number, f"{reason}: put cells with a {self._name()} or a line break in quotes")
        filled = zip(self._columns, cells, strict=True)
        return {name: _value(number, name, cell) for name, cell in filled if cell}

    def _name(self) -> str:
        return SEPARATORS[self._separator or ","]

    def _header(self, number: int, row: str) -> list[str]:
        readings = {}
        for sign in [self._separator] if self._separator else self._signs:
            with suppress(BadRecord):  # quotes beside a sign that does not separate
                readings[sign] = _names(_cells(number, row, sign))
        headers = {sign: names for sign, names in readings.items() if _is_header(names)}
        if not headers:
            raise BadRecord(number, _why_no_header(list(readings.values())))
        self._separator, names = max(headers.items(), key=lambda reading: len(reading[1]))
        self._interpretation.separator = self._name()
        return names

    def _refuse_second_header(self, number: int, cells: list[str]) -> None:
        names = _names(cells)
        same = set(names) == set(self._columns or ()) and len(names) == len(self._columns or ())
        if same or (_is_header(names) and any(set(names) >= shape for shape in _PAIRS)):
            reason = "a header again, as where two files were joined: remove the line, or upload the files one by one"
            raise BadRecord(number, reason)


def _why_no_header(readings: list[list[str]]) -> str:
    # the reading with the most known names is the one that was meant, with a fault such as a misspelt column
    names = max(readings, key=lambda names: len(set(names) & KNOWN_FIELDS), default=[])
    repeated = sorted(name for name in KNOWN_FIELDS if names.count(name) > 1)
    reason = (
        f"the column '{repeated[0]}' is there twice"
        if repeated
        else f"a column is not known: {describe_known_fields()}"
    )
    return f"the first line names the columns, each once, separated by {', '.join(SEPARATORS.values())}; {reason}"


def _names(cells: list[str]) -> list[str]:
    return [cell.strip().lstrip("\ufeff").strip('"').lower() for cell in cells]


def _is_header(names: list[str]) -> bool:
    """Whether every name is a known column, and no name but the empty one is there twice."""
    named = [name for name in names if name]
    return (
        bool(set(names) & KNOWN_FIELDS) and set(named) <= KNOWN_FIELDS | INDEX_FIELDS and len(set(named)) == len(named)
    )


def _cells(number: int, row: str, separator: str) -> list[str]:
    try:
        (cells,) = csv.reader([row], delimiter=separator, strict=True)
    except (csv.Error, ValueError):
        raise BadRecord(number, "not a CSV row (RFC 4180): a quote inside a quoted cell is written twice") from None
    return cells


def _value(number: int, name: str, cell: str) -> Any:
    if name not in LIST_FIELDS or (name in _LISTS_OR_TEXT and not cell.lstrip().startswith("[")):
        return cell
    try:
        return from_json(cell)
    except ValueError:
        raise BadRecord(number, f"the cell of '{name}' is not valid JSON") from None
