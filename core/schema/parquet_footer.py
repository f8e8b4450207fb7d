"""Reads the sizes in a Parquet file's footer, without trusting it.

The footer is a struct in Thrift's compact protocol (Apache Parquet, "parquet.thrift"). pyarrow 26 ends the whole
process where some parts of a column's metadata are damaged and are read alone, so the sizes are read here.
"""

from typing import Any, BinaryIO, NamedTuple

MAX_BYTES = 64 << 20
"""The largest footer that is read: about the size of one with a million column chunks."""
_MAX_DEPTH = 16
_TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, (9, 10), 11, 12

# numbers of fields in parquet.thrift
_ROW_GROUPS, _COLUMNS = 4, 1
_META_DATA, _ENCRYPTED = 3, (8, 9)
_VALUES, _UNCOMPRESSED = 5, 6


class Footer(NamedTuple):
    """The sums over all column chunks, and the number of chunks in each row group."""

    uncompressed: int
    values: int
    columns: list[int]


def read_footer(file: BinaryIO) -> Footer:
    """Reads the footer. ValueError: it is damaged, encrypted or over MAX_BYTES."""
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
    sizes = [size for group in chunks for size, _ in group]
    counts = [count for group in chunks for _, count in group]
    return Footer(sum(sizes), sum(counts), [len(group) for group in chunks])


def _chunk(column: dict[int, Any]) -> tuple[int, int]:
    """Returns a column chunk's unpacked bytes and its number of values.

    ValueError: the chunk is encrypted, or they are not numbers from 0.
    """
    metadata = column[_META_DATA]
    size, values = metadata[_UNCOMPRESSED], metadata[_VALUES]
    if any(field in column for field in _ENCRYPTED) or type(size) is not int or type(values) is not int:
        raise ValueError("a column that is encrypted, or has no sizes")
    if size < 0 or values < 0:
        raise ValueError("a negative size")
    return size, values


class _Compact:
    """A reader of Thrift's compact protocol. IndexError: the data ends. ValueError: the data are not valid."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Reads a struct: its values by field number."""
        if depth > _MAX_DEPTH:
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
            return self._bytes(self._unsigned())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in _LISTS:
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            return self._list(head & 15, count, depth)
        if kind == _MAP:
            count = self._unsigned()
            kinds = self._byte() if count else 0
            pairs = range(self._checked_count(count))
            return [self._list(kind, 1, depth) for _ in pairs for kind in (kinds >> 4, kinds & 15)]
        if kind in (_TRUE, _FALSE, _BYTE):  # within a list a truth value is a byte, too
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        raise ValueError("a kind that the protocol does not have")

    def _list(self, kind: int, count: int, depth: int) -> list[Any]:
        if depth > _MAX_DEPTH:
            raise ValueError("lists too deep in each other")
        return [self._value(kind, depth + 1) for _ in range(self._checked_count(count))]

    def _checked_count(self, count: int) -> int:
        """Returns the count, if the data can hold so many: each takes one byte at least. Raises ValueError."""
        if count > len(self._data) - self._position:
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
        byte = self._data[self._position]
        self._position += 1
        return byte

    def _bytes(self, count: int) -> bytes:
        piece = self._data[self._position : self._position + self._checked_count(count)]
        self._position += count
        return piece
