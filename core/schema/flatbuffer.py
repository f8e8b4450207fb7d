"""Tables of a flatbuffer, as far as Arrow's messages need them (FlatBuffers, "Internals").

Offsets from outside may point anywhere: reading outside of the bytes is `struct.error`.
"""

import struct
from typing import NamedTuple


class Table(NamedTuple):
    """A table that begins at `place` of `data`."""

    data: bytes
    place: int

    def number(self, field: int, form: str) -> int:
        """The scalar in a field, of a struct format such as `q`; 0 where it is absent."""
        place = self._field(field)
        return 0 if place is None else int(_unpacked("<" + form, self.data, place)[0])

    def table(self, field: int) -> "Table | None":
        """The table in a field, if any."""
        place = self._field(field)
        return None if place is None else Table(self.data, place + _unpacked("<I", self.data, place)[0])

    def pairs(self, field: int, form: str) -> list[tuple[int, int]]:
        """The vector of structs of two numbers in a field, empty where it is absent."""
        place = self._field(field)
        if place is None:
            return []
        place += _unpacked("<I", self.data, place)[0]
        (count,) = _unpacked("<I", self.data, place)
        size = struct.calcsize(form)
        if count > len(self.data) // size:
            raise struct.error("a vector is longer than its buffer")
        return [_pair(form, self.data, place + 4 + number * size) for number in range(count)]

    def _field(self, number: int) -> int | None:
        """Where a field is, by the table's vtable: its size, the table's, and the offset of every field."""
        vtable = self.place - _unpacked("<i", self.data, self.place)[0]
        (size,) = _unpacked("<H", self.data, vtable)
        if 4 + 2 * number >= size:
            return None
        (offset,) = _unpacked("<H", self.data, vtable + 4 + 2 * number)
        return self.place + offset if offset else None


def root_table(data: bytes) -> Table:
    """The table that the buffer is."""
    return Table(data, _unpacked("<I", data, 0)[0])


def _pair(form: str, data: bytes, place: int) -> tuple[int, int]:
    first, second = _unpacked(form, data, place)
    return first, second


def _unpacked(form: str, data: bytes, place: int) -> tuple[int, ...]:
    if place < 0:  # which would count from the end
        raise struct.error("an offset before the buffer")
    return struct.unpack_from(form, data, place)
