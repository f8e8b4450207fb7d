"""What a Parquet file says of itself in its footer, read without trusting it.

The footer is a struct in Thrift's compact protocol (Apache Parquet, "parquet.thrift"). pyarrow 26 ends the whole
process where a column's metadata is damaged in some places and is asked for by itself, so the sizes are read here.
"""

from typing import Any, BinaryIO, NamedTuple

MAX_BYTES = 64 << 20
"""Of a footer: one of a million column chunks has about these."""
_DEEPEST = 16
_TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, (9, 10), 11, 12

# numbers of fields in parquet.thrift
_ROW_GROUPS, _COLUMNS = 4, 1
_META_DATA, _ENCRYPTED = 3, (8, 9)
_VALUES, _UNCOMPRESSED = 5, 6


class Footer(NamedTuple):
    """What all column chunks say together, and their number in each row group."""

    uncompressed: int
    values: int
    columns: list[int]


def read_footer(file: BinaryIO) -> Footer:
    """What the footer says; ValueError where it is damaged, encrypted or over MAX_BYTES."""
    file.seek(-8, 2)
    end = file.read(8)
    size = int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1" or size > MAX_BYTES or size + 8 > file.tell():
        raise ValueError("no footer of a Parquet file, or one that is encrypted or too large")
    file.seek(-8 - size, 2)
    try:
        groups = _Compact(file.read(size)).struct().get(_ROW_GROUPS, [])
        chunks = [[_chunk(column) for column in group[_COLUMNS]] for group in groups]
    except (IndexError, KeyError, TypeError, AttributeError):
        raise ValueError("a footer with fields that are missing or of another kind") from None
    every = [chunk for group in chunks for chunk in group]
    return Footer(sum(size for size, _ in every), sum(count for _, count in every), [len(group) for group in chunks])


def _chunk(column: dict[int, Any]) -> tuple[int, int]:
    """A column chunk's bytes unpacked and its values; ValueError where they are encrypted or not numbers from 0."""
    about = column[_META_DATA]
    size, values = about[_UNCOMPRESSED], about[_VALUES]
    if any(field in column for field in _ENCRYPTED) or type(size) is not int or type(values) is not int:
        raise ValueError("a column that is encrypted, or has no sizes")
    if size < 0 or values < 0:
        raise ValueError("a negative size")
    return size, values


class _Compact:
    """A reader of Thrift's compact protocol; IndexError at the data's end, ValueError where they make no sense."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Values by the numbers of their fields."""
        if depth > _DEEPEST:
            raise ValueError("structs too deep in each other")
        fields, number = dict[int, Any](), 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._signed()
        if kind == _BINARY:
            return self._taken(self._unsigned())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in _LISTS:
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            return self._several(head & 15, count, depth)
        if kind == _MAP:
            count = self._unsigned()
            kinds = self._byte() if count else 0
            return [self._several(one, 1, depth) for _ in range(self._few(count)) for one in (kinds >> 4, kinds & 15)]
        if kind in (_TRUE, _FALSE, _BYTE):  # within a list a truth value is a byte, too
            return self._byte()
        if kind == _DOUBLE:
            return self._taken(8)
        raise ValueError("a kind that the protocol does not have")

    def _several(self, kind: int, count: int, depth: int) -> list[Any]:
        if depth > _DEEPEST:
            raise ValueError("lists too deep in each other")
        return [self._value(kind, depth + 1) for _ in range(self._few(count))]

    def _few(self, count: int) -> int:
        """The count, where so many can be there: each takes a byte at least."""
        if count > len(self._data) - self._place:
            raise ValueError("a list is longer than its data")
        return count

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)

    def _unsigned(self) -> int:
        number = shift = 0
        while shift < 70:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
        raise ValueError("a number that does not end")

    def _byte(self) -> int:
        byte = self._data[self._place]
        self._place += 1
        return byte

    def _taken(self, count: int) -> bytes:
        piece = self._data[self._place : self._place + self._few(count)]
        self._place += count
        return piece
