"""Records out of a Parquet file, within bounds that are kept before anything is unpacked."""

from collections.abc import Iterator
from typing import BinaryIO

from core.schema.arrow_columns import RowLimits, batch_records, check_columns
from core.schema.bad_record import BadRecord
from core.schema.file_interpretation import FileInterpretation
from core.schema.parquet_footer import Footer, read_footer
from core.schema.record import Record

_AT_ONCE = 16 << 20
"""Bytes of one batch, more or less, where rows are of about one size."""
_ROWS_AT_ONCE = 4096


def parquet_records(
    file: BinaryIO,
    *,
    max_record_bytes: int = 1 << 20,
    max_bytes: int | None = None,
    interpretation: FileInterpretation | None = None,
) -> Iterator[tuple[int, Record]]:
    """(row, record) of a Parquet file that can be sought in. Raises BadRecord.

    `max_bytes` is the limit on all rows together, unpacked; of one row it is `ESCAPES` times that on a record.
    """
    import pyarrow
    import pyarrow.parquet

    interpretation = interpretation or FileInterpretation()
    try:
        said = read_footer(file)
        file.seek(0)
        about = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
        check_columns(about.schema_arrow)
        packed = _check_footer(said, len(about.schema), max_bytes)
        texts = [about.schema.column(number).path for number in range(len(about.schema))]
        source = pyarrow.parquet.ParquetFile(file, pre_buffer=False, read_dictionary=texts)
    except BadRecord:
        raise
    except (pyarrow.ArrowException, OSError, ValueError):
        raise BadRecord(1, "not a readable Parquet file: write it again", unit="row") from None
    size = max(1, min(_ROWS_AT_ONCE, about.metadata.num_rows * _AT_ONCE // max(packed, 1)))
    batches = source.iter_batches(batch_size=size)
    limits = RowLimits(max_record_bytes=max_record_bytes, max_bytes=max_bytes)
    while True:
        try:
            rows = next(batches, None)
            if rows is not None:
                rows.validate(full=True)  # indices from outside point anywhere
        except (pyarrow.ArrowException, OSError, ValueError):
            raise limits.damaged() from None
        if rows is None:
            return
        yield from batch_records(rows, limits, interpretation)


def _check_footer(said: Footer, columns: int, max_bytes: int | None) -> int:
    """The bytes of all pages unpacked, by the file's own account; BadRecord where it or the values are too many."""
    if any(count != columns for count in said.columns):
        raise ValueError("a row group of other columns than the schema's")
    if max_bytes is not None and max(said.uncompressed, said.values) > max_bytes:
        raise BadRecord(1, f"the records are over the limit of {max_bytes} bytes", unit="row")
    return said.uncompressed
