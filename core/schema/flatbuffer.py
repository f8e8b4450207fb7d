"""Reads tables of a flatbuffer, as far as Arrow's messages need it (FlatBuffers, "Internals").

Offsets come from outside and may point anywhere: reading outside of the bytes raises `struct.error`.
"""

import struct
from typing import NamedTuple


class Table(NamedTuple):
    """A table that begins at `offset` of `data`."""

    data: bytes
    offset: int

    def number(self, field: int, form: str) -> int:
        """Returns the scalar in a field, of a struct format such as `q`; 0 where it is absent."""
        offset = self._field(field)
        return 0 if offset is None else int(_unpack("<" + form, self.data, offset)[0])

    def table(self, field: int) -> "Table | None":
        """Returns the table in a field; None where it is absent."""
        offset = self._field(field)
        return None if offset is None else Table(self.data, offset + _unpack("<I", self.data, offset)[0])

    def pairs(self, field: int, form: str) -> list[tuple[int, int]]:
        """Returns the vector of pairs of numbers in a field; empty where it is absent."""
        offset = self._field(field)
        if offset is None:
            return []
        offset += _unpack("<I", self.data, offset)[0]
        (count,) = _unpack("<I", self.data, offset)
        size = struct.calcsize(form)
        if count > len(self.data) // size:
            raise struct.error("a vector is longer than its buffer")
        return [_pair(form, self.data, offset + 4 + number * size) for number in range(count)]

    def _field(self, number: int) -> int | None:
        """Returns a field's offset in `data`, from the vtable: its size, the table's size, and each field's offset."""
        vtable = self.offset - _unpack("<i", self.data, self.offset)[0]
        (size,) = _unpack("<H", self.data, vtable)
        if 4 + 2 * number >= size:
            return None
        (within,) = _unpack("<H", self.data, vtable + 4 + 2 * number)
        return self.offset + within if within else None


def root_table(data: bytes) -> Table:
    """Returns the table that the buffer holds."""
    return Table(data, _unpack("<I", data, 0)[0])


def _pair(form: str, data: bytes, offset: int) -> tuple[int, int]:
    first, second = _unpack(form, data, offset)
    return first, second


def _unpack(form: str, data: bytes, offset: int) -> tuple[int, ...]:
    if offset < 0:  # which would count from the end
        raise struct.error("an offset before the buffer")
    return struct.unpack_from(form, data, offset)
