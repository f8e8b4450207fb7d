"""Splits a `.json` file into its values, in any layout: a list, objects one after another, or a list in an object."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from pydantic_core import from_json

from core.schema.bad_record import BadRecord
from core.schema.record_shapes import KNOWN_FIELDS, LIST_FIELDS, TEXT_FIELDS

_OUTSIDE = re.compile(r'["{}\[\],]|[^\s"{}\[\],]+')
_INSIDE = re.compile(r'["\\]')
_LAST_KEY = re.compile(r'"([^"\\]{0,64})"\s*:\s*$')
_KEY_REACH = 200


class JsonValue(NamedTuple):
    """The JSON text of a value, the line that it begins on, and its number among the values, both from 1."""

    text: str
    line: int
    record: int


class JsonValues:
    """Takes the text of a JSON file in pieces and yields the values that may be records.

    The values are the elements of a list, the elements of the only list in an object without a record's fields, or
    objects one after another. Memory: one value, of at most `max_characters`. Raises BadRecord.
    """

    def __init__(self, *, max_characters: int, too_long: str) -> None:
        self._limit, self._too_long = max_characters, too_long
        self._place: Literal["top", "list", "over"] = "top"
        self._expected: Literal["value", "comma", "value or end"] = "value or end"
        self._pieces: list[str] = []  # of the value that is not complete yet
        self._size = self._depth = self._count = 0
        self._quoted = self._escaped = False
        self._line = self._first = 1
        self._outer: str | None = None  # the text of the object that holds the list, up to the list
        self._in_object = False  # whether the list is in an object
        self._is_record = False  # whether the object that is not complete yet has a field of a record

    def feed(self, text: str) -> Iterator[JsonValue]:
        """Yields the values that this text completes. Exhaust it before the next call."""
        position = counted = 0
        begin = 0 if self._depth or self._quoted else None  # where the value begins in this text
        while position < len(text):
            if self._quoted:
                position = self._in_string(text, position)
                if not self._quoted and self._depth == 0:
                    yield self._complete(text[begin:position])
                    begin = None
                continue
            sign = _OUTSIDE.search(text, position)
            if sign is None:
                break
            start, position, mark = sign.start(), sign.end(), sign.group()
            if self._depth:
                may_open = mark in "{[" and self._depth == 1 and self._place == "top"
                if may_open and self._opens_list(mark, text, begin or 0, start):
                    begin = None
                    continue
                self._quoted = mark == '"'
                self._depth += (mark in "{[") - (mark in "}]")
                if self._depth == 0:
                    value = self._complete(text[begin:position])
                    begin = None
                    if not self._in_object:
                        yield value
                    elif self._place == "top":
                        self._close_object(value.text)
                    else:
                        yield value
                continue
            self._line, counted = self._line + text.count("\n", counted, start), start
            if self._between(mark):
                begin = start if mark != "]" else position
        self._line += text.count("\n", counted)
        if begin is not None:
            self._keep(text[begin:])

    def close(self) -> None:
        """Raises BadRecord where the file ends before the JSON does."""
        if self._depth or self._quoted or self._place == "list":
            raise self._bad("the file ends before its JSON does: it is cut short, or a bracket or quote is missing")

    def _in_string(self, text: str, position: int) -> int:
        """Returns the position after the string or the escape; after the text where the string goes on."""
        if self._escaped:
            self._escaped = False
            return position + 1
        sign = _INSIDE.search(text, position)
        if sign is None:
            return len(text)
        self._escaped = sign.group() == "\\"
        self._quoted = self._escaped
        return sign.end()

    def _between(self, mark: str) -> bool:
        """Takes a mark between values. Returns whether a value begins with it, or goes on after it."""
        self._first = self._line
        if self._place == "over":
            raise self._bad("there is more after the list: a file holds one list")
        if self._place == "top":
            if mark == "[" and not self._count:
                self._place = "list"
                return False
            if mark not in '{"':
                raise self._bad("not valid JSON" if self._count else "not an object, nor a list of objects")
        elif mark == ",":
            if self._expected != "comma":
                raise self._bad("not valid JSON")
            self._expected = "value"
            return False
        elif mark == "]":
            if self._expected == "value":
                raise self._bad("not valid JSON: a comma before the end of the list")
            return self._close_list()
        elif self._expected == "comma" or mark == "}":
            raise self._bad("not valid JSON: a comma is missing between two elements")
        self._count += 1
        if mark not in '{"[':
            raise self._bad("not an object")
        self._expected = "comma"
        self._quoted = mark == '"'
        self._depth = int(mark != '"')
        return True

    def _opens_list(self, mark: str, text: str, begin: int, start: int) -> bool:
        """Enters the list that opens at `start`, if it holds records. The object's text goes on at `begin`."""
        key = _LAST_KEY.search(self._end_of_object(text, begin, start))
        name = key.group(1).strip().lower() if key else ""
        if name in TEXT_FIELDS:
            raise self._bad("columns, not records: save a list of records (pandas: to_json(orient='records'))")
        if mark == "{" or name in LIST_FIELDS or self._is_record:
            return False
        before = "".join([*self._pieces, text[begin:start]])
        try:
            outer = from_json(before + "null}")
        except ValueError:
            raise self._bad("not valid JSON") from None
        if self._has_known_field(outer):
            self._is_record = True  # so that an object of many lists is not parsed anew at each
            return False
        if self._in_object or self._count > 1:
            raise self._bad("more than one list: which of them holds the records cannot be told; save one list alone")
        self._outer, self._in_object, self._place = before, True, "list"
        self._expected = "value or end"
        self._pieces, self._size, self._depth, self._count = [], 0, 0, 0
        return True

    def _end_of_object(self, text: str, begin: int, start: int) -> str:
        """Returns the last characters of an object's text up to `start`, enough for a key."""
        end = text[max(begin, start - _KEY_REACH) : start]
        for piece in reversed(self._pieces):
            if len(end) >= _KEY_REACH:
                break
            end = piece[-_KEY_REACH:] + end
        return end[-_KEY_REACH:]

    def _close_list(self) -> bool:
        if self._outer is None:
            self._place = "over"
            return False
        self._pieces, self._size, self._depth = [self._outer, "[]"], len(self._outer), 1
        self._place = "top"
        return True

    def _close_object(self, text: str) -> None:
        try:
            outer = from_json(text)
        except ValueError:
            raise self._bad("not valid JSON") from None
        if self._has_known_field(outer):
            raise self._bad("both a record and a list of records: save the list alone")
        self._place = "over"

    @staticmethod
    def _has_known_field(outer: dict[str, object]) -> bool:
        return any(name.strip().lower() in KNOWN_FIELDS for name in outer)

    def _complete(self, end: str) -> JsonValue:
        self._keep(end)
        text, self._pieces, self._size, self._is_record = "".join(self._pieces), [], 0, False
        return JsonValue(text, self._first, self._count)

    def _keep(self, piece: str) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._limit:
            raise self._bad(self._too_long)

    def _bad(self, reason: str) -> BadRecord:
        if self._place == "list" and self._count:
            return BadRecord(self._count, reason, unit="record", line=self._first)
        return BadRecord(self._first, reason)
