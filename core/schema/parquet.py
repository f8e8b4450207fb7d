"""Records out of a Parquet file, within bounds that are kept before anything is unpacked.

A Parquet file of some hundred bytes can say "this text of 100 MB, a million times over". So texts stay in their
dictionaries, in which each is there once, and a row becomes Python objects, alone, when its size is known.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from core.schema.files import Record
from core.schema.parsing import COLUMNS, ESCAPES, NESTED, BadRecord, checked_record

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import NDArray

_AT_ONCE = 16 << 20
"""Bytes of one batch, more or less, where rows are of about one size."""
_ROWS_AT_ONCE = 4096


def parquet_records(
    file: BinaryIO, *, max_record_bytes: int = 1 << 20, max_bytes: int | None = None
) -> Iterator[tuple[int, Record]]:
    """(row, record) of a Parquet file that can be sought in. Raises BadRecord.

    `max_bytes` is the limit on all rows together, unpacked; of one row it is `ESCAPES` times that on a record.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        about = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
        _check_columns(about.schema_arrow)
        packed = _check_footer(about.metadata, max_bytes)
        texts = [about.schema.column(number).path for number in range(len(about.schema))]
        source = pyarrow.parquet.ParquetFile(file, pre_buffer=False, read_dictionary=texts)
    except BadRecord:
        raise
    except (pyarrow.ArrowException, OSError, ValueError):
        raise BadRecord(1, "not a readable Parquet file", unit="row") from None
    size = max(1, min(_ROWS_AT_ONCE, about.metadata.num_rows * _AT_ONCE // max(packed, 1)))
    batches = source.iter_batches(batch_size=size)
    number = total = 0
    while True:
        try:
            rows = next(batches, None)
            weights = [] if rows is None else _rows_weights(rows)
        except (pyarrow.ArrowException, OSError, ValueError):
            raise BadRecord(number + 1, "the file is damaged here", unit="row") from None
        if rows is None:
            return
        for place, weight in enumerate(weights):
            number += 1
            total += weight
            if weight > ESCAPES * max_record_bytes:
                raise BadRecord(number, f"longer than a record of {max_record_bytes} bytes can be", unit="row")
            if max_bytes is not None and total > max_bytes:
                raise _too_much(number, max_bytes)
            try:
                row = {name: rows.column(name)[place].as_py() for name in rows.schema.names}
            except (pyarrow.ArrowException, ValueError):
                raise BadRecord(number, "the file is damaged here", unit="row") from None
            present = {name: value for name, value in row.items() if value is not None}
            yield number, checked_record(number, present, max_record_bytes=max_record_bytes, unit="row")


def _too_much(number: int, max_bytes: int) -> BadRecord:
    return BadRecord(number, f"the records are over the limit of {max_bytes} bytes", unit="row")


def _check_columns(schema: Any) -> None:
    """BadRecord where a column is not known, is there twice, or does not hold what its name says."""
    names = schema.names
    if not set(names) <= set(COLUMNS) or len(set(names)) != len(names):
        raise BadRecord(1, f"a column is not known, or there twice; a record has: {', '.join(COLUMNS)}", unit="row")
    for field in schema:
        if not (_is_list(field.type) if field.name in NESTED else _is_text(field.type)):
            wanted = "lists" if field.name in NESTED else "texts"
            raise BadRecord(1, f"the column '{field.name}' does not hold {wanted}", unit="row")


def _is_text(type: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(type):
        return _is_text(type.value_type)
    kinds = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary, types.is_null)
    return any(is_kind(type) for is_kind in kinds)


def _is_list(type: Any) -> bool:
    """Lists of texts, or of structures of texts."""
    from pyarrow import types

    if types.is_null(type):
        return True
    if not (types.is_list(type) or types.is_large_list(type)):
        return False
    inner = type.value_type
    return all(_is_text(one.type) for one in inner) if types.is_struct(inner) else _is_text(inner)


def _check_footer(metadata: Any, max_bytes: int | None) -> int:
    """The bytes of all pages unpacked, by the file's own account; BadRecord where it or the values are too many."""
    size = values = 0
    for group in range(metadata.num_row_groups):
        columns = metadata.row_group(group)
        for number in range(columns.num_columns):
            size += columns.column(number).total_uncompressed_size
            values += columns.column(number).num_values
    if max_bytes is not None and max(size, values) > max_bytes:
        raise _too_much(1, max_bytes)
    return size


def _rows_weights(rows: Any) -> list[int]:
    weights = [0] * rows.num_rows
    for column in rows.columns:
        weights = [so_far + more for so_far, more in zip(weights, _weights(column).tolist(), strict=True)]
    return weights


def _weights(column: Any) -> "NDArray[int64]":
    """How many bytes of text each row of a column holds, a list's elements counting one more each: (rows,)."""
    import numpy as np
    from pyarrow import compute, types

    if types.is_dictionary(column.type):
        lengths = _weights(column.dictionary)
        places = column.indices.fill_null(0).to_numpy(zero_copy_only=False)
        return np.where(column.is_valid(), lengths[places], 0) if len(lengths) else np.zeros(len(column), np.int64)
    if types.is_struct(column.type):
        parts = [_weights(one) for one in column.flatten()]
        return np.sum(parts, axis=0, dtype=np.int64) if parts else np.zeros(len(column), np.int64)
    if types.is_list(column.type) or types.is_large_list(column.type):
        parents = compute.list_parent_indices(column).to_numpy(zero_copy_only=False)
        inner = _weights(column.flatten()) + 1
        return np.bincount(parents, weights=inner, minlength=len(column)).astype(np.int64)
    if types.is_null(column.type):
        return np.zeros(len(column), np.int64)
    return np.asarray(compute.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False), np.int64)
