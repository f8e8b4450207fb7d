"""Reads records from a Parquet file, and checks sizes before anything is unpacked."""

from collections.abc import Iterator
from typing import BinaryIO

from core.schema.arrow_columns import RowLimits, batch_records, check_columns
from core.schema.bad_record import BadRecord
from core.schema.file_interpretation import FileInterpretation
from core.schema.parquet_footer import Footer, read_footer
from core.schema.record import Record

_BATCH_BYTES = 16 << 20
"""About the size of one batch, where rows have about the same size."""
_MAX_BATCH_ROWS = 4096


def parquet_records(
    file: BinaryIO,
    *,
    max_record_bytes: int = 1 << 20,
    max_bytes: int | None = None,
    interpretation: FileInterpretation | None = None,
) -> Iterator[tuple[int, Record]]:
    """Yields (row, record) of a seekable Parquet file. Raises BadRecord.

    `max_bytes` limits all rows together, unpacked; one row may have `ESCAPES` times the limit on a record.
    """
    import pyarrow
    import pyarrow.parquet

    interpretation = interpretation or FileInterpretation()
    try:
        footer = read_footer(file)
        file.seek(0)
        layout = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
        check_columns(layout.schema_arrow)
        unpacked_bytes = _check_footer(footer, len(layout.schema), max_bytes)
        texts = [layout.schema.column(number).path for number in range(len(layout.schema))]
        source = pyarrow.parquet.ParquetFile(file, pre_buffer=False, read_dictionary=texts)
    except BadRecord:
        raise
    except (pyarrow.ArrowException, OSError, ValueError):
        raise BadRecord(1, "not a readable Parquet file: write it again", unit="row") from None
    size = max(1, min(_MAX_BATCH_ROWS, layout.metadata.num_rows * _BATCH_BYTES // max(unpacked_bytes, 1)))
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


def _check_footer(footer: Footer, columns: int, max_bytes: int | None) -> int:
    """Returns the bytes of all pages unpacked, by the footer. BadRecord: these bytes, or the values, are too many."""
    if any(count != columns for count in footer.columns):
        raise ValueError("a row group of other columns than the schema's")
    if max_bytes is not None and max(footer.uncompressed, footer.values) > max_bytes:
        raise BadRecord(1, f"the records are over the limit of {max_bytes} bytes", unit="row")
    return footer.uncompressed
