"""Reads records from Arrow's columns, and checks each row's size before it is unpacked.

A columnar file of some hundred bytes can stand for a million copies of a text of 100 MB. So texts stay in their
dictionaries, which hold each text once, and a single row becomes Python objects when its size is known.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from core.schema.bad_record import BadRecord
from core.schema.file_interpretation import FileInterpretation
from core.schema.parsing import ESCAPES, validate_record
from core.schema.record import Record
from core.schema.record_shapes import INDEX_FIELDS, KNOWN_FIELDS, LIST_FIELDS, describe_known_fields

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import NDArray

_NUMBERED = INDEX_FIELDS | {"id", "subject", "group"}
_LISTS_OR_TEXT = frozenset({"paraphrased_question", "perturbed_answer"})


class RowLimits:
    """The limits on a row's bytes and on all rows' bytes, and the number of rows so far."""

    def __init__(self, *, max_record_bytes: int, max_bytes: int | None) -> None:
        self.max_record_bytes, self.max_bytes = max_record_bytes, max_bytes
        self.number = self.total = 0

    def add(self, weight: int) -> None:
        """Counts a row of so many bytes. BadRecord: the row, or all rows together, are too large."""
        self.number += 1
        self.total += weight
        if weight > ESCAPES * self.max_record_bytes:
            raise self.bad(f"longer than a record of {self.max_record_bytes} bytes can be")
        if self.max_bytes is not None and self.total > self.max_bytes:
            raise self.bad(f"the records are over the limit of {self.max_bytes} bytes")

    def bad(self, reason: str) -> BadRecord:
        """An error about the present row."""
        return BadRecord(self.number, reason, unit="row")

    def damaged(self) -> BadRecord:
        """An error about the next row, which cannot be read."""
        return BadRecord(self.number + 1, "the file is damaged here: write it again", unit="row")


def batch_records(rows: Any, limits: RowLimits, interpretation: FileInterpretation) -> Iterator[tuple[int, Record]]:
    """Yields (row, record) of a record batch whose columns `check_columns` has accepted. Raises BadRecord."""
    import pyarrow

    try:
        row_sizes = _row_sizes(rows)
    except (pyarrow.ArrowException, ValueError):
        raise limits.damaged() from None
    for index, size in enumerate(row_sizes):
        limits.add(size)
        try:
            row = {name: rows.column(name)[index].as_py() for name in rows.schema.names}
        except (pyarrow.ArrowException, ValueError):
            raise limits.bad("the file is damaged here: write it again") from None
        present = {name: value for name, value in row.items() if value is not None}
        yield (
            limits.number,
            validate_record(
                limits.number,
                present,
                max_record_bytes=limits.max_record_bytes,
                interpretation=interpretation,
                unit="row",
            ),
        )


def check_columns(schema: Any) -> None:
    """Raises BadRecord where a column is not known, is there twice, or does not hold what its name says."""
    names = [name.strip().lower() for name in schema.names]
    if not set(names) <= KNOWN_FIELDS | INDEX_FIELDS or len(set(names)) != len(names):
        raise BadRecord(1, f"a column is not known, or there twice; {describe_known_fields()}", unit="row")
    for name, field in zip(names, schema, strict=True):
        kind = "lists" if name in LIST_FIELDS else "texts"
        fits = _is_list(field.type) if name in LIST_FIELDS else _is_text(field.type)
        fits = (
            fits or (name in _NUMBERED and _is_number(field.type)) or (name in _LISTS_OR_TEXT and _is_text(field.type))
        )
        if not fits:
            raise BadRecord(1, f"the column '{name}' does not hold {kind}", unit="row")


def _is_number(type: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(type) or types.is_floating(type))


def _is_text(type: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(type):
        return _is_text(type.value_type)
    kinds = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary, types.is_null)
    return _is_view(type) or any(is_kind(type) for is_kind in kinds)


def _is_view(type: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string_view(type) or types.is_binary_view(type))


def _is_list(type: Any) -> bool:
    """Whether a type is lists of texts, or of structures with texts and a message's other fields."""
    from pyarrow import types

    if types.is_null(type):
        return True
    if not (types.is_list(type) or types.is_large_list(type)):
        return False
    inner = type.value_type
    if not types.is_struct(inner):
        return _is_text(inner)
    return all(
        _is_text(field.type) or _is_list(field.type) or (field.name == "weight" and _is_number(field.type))
        for field in inner
    )


def _row_sizes(rows: Any) -> list[int]:
    sizes = [0] * rows.num_rows
    for column in rows.columns:
        sizes = [size + more for size, more in zip(sizes, _column_sizes(column).tolist(), strict=True)]
    return sizes


def _column_sizes(column: Any) -> "NDArray[int64]":
    """Returns the bytes of text in each row of a column: (rows,). Each element of a list counts one byte more."""
    import numpy as np
    from pyarrow import compute, types

    if types.is_dictionary(column.type):
        lengths = _column_sizes(column.dictionary)
        indices = column.indices.fill_null(0).to_numpy(zero_copy_only=False)
        return np.where(column.is_valid(), lengths[indices], 0) if len(lengths) else np.zeros(len(column), np.int64)
    if types.is_struct(column.type):
        parts = [_column_sizes(field) for field in column.flatten()]
        return np.sum(parts, axis=0, dtype=np.int64) if parts else np.zeros(len(column), np.int64)
    if types.is_list(column.type) or types.is_large_list(column.type):
        parents = compute.list_parent_indices(column).to_numpy(zero_copy_only=False)
        inner = _column_sizes(column.flatten()) + 1
        return np.bincount(parents, weights=inner, minlength=len(column)).astype(np.int64)
    if types.is_null(column.type):
        return np.zeros(len(column), np.int64)
    if _is_number(column.type):
        return np.full(len(column), column.type.bit_width // 8, np.int64)
    if _is_view(column.type):
        # a view is 16 bytes of which the first four are the text's length (Arrow columnar format, "Variable-size
        # Binary View Layout"); a cast would copy a text that many rows share
        views = np.frombuffer(column.buffers()[1], np.int32)[::4][column.offset : column.offset + len(column)]
        return np.where(column.is_valid(), views, 0).astype(np.int64)
    return np.asarray(compute.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False), np.int64)
