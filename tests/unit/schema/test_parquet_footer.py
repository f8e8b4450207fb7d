"""A Parquet file's footer is read without trusting it."""

import io
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest

from core.schema.parquet_footer import read_footer

CHANGE_EVERY_BYTE = """
import io, sys
from core.schema.bad_record import BadRecord
from core.schema.parquet import parquet_records
file, refused = sys.stdin.buffer.read(), 0
for position in range(len(file) - 8 - int.from_bytes(file[-8:-4], "little"), len(file)):
    for change in (1, 8, 255):
        data = bytearray(file)
        data[position] ^= change
        try:
            list(parquet_records(io.BytesIO(data), max_bytes=1 << 20))
        except BadRecord:
            refused += 1
print(refused)
"""


def written(**options: object) -> bytes:
    file = io.BytesIO()
    table = pyarrow.table({"text": ["one record", "and another"] * 50, "id": [str(number) for number in range(100)]})
    pyarrow.parquet.write_table(table, file, **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"row_group_size": 7}, {"store_schema": False, "compression": "zstd"}])
def test_the_footer_is_read_as_pyarrow_reads_it(options: dict[str, object]) -> None:
    file = written(**options)
    metadata = pyarrow.parquet.ParquetFile(io.BytesIO(file)).metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    chunks = [group.column(column) for group in groups for column in range(2)]
    footer = read_footer(io.BytesIO(file))
    assert footer.uncompressed == sum(chunk.total_uncompressed_size for chunk in chunks)
    assert footer.values == sum(chunk.num_values for chunk in chunks) == 200
    assert footer.columns == [2] * metadata.num_row_groups


def test_no_damage_to_a_footer_ends_the_process() -> None:
    child = subprocess.run([sys.executable, "-c", CHANGE_EVERY_BYTE], input=written(), capture_output=True, timeout=300)
    assert child.returncode == 0, child.stderr.decode()[-500:]
    assert int(child.stdout) > 300


@pytest.mark.parametrize("cut", [1, 4, 8, 60])
def test_a_file_that_is_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="no footer of a Parquet file"):
        read_footer(io.BytesIO(written()[:-cut]))


def test_a_list_longer_than_its_data_takes_no_memory() -> None:
    bomb = bytes([0x49, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F])  # a list of structs, of 4 thousand million
    with pytest.raises(ValueError, match="longer than its data"):
        read_footer(io.BytesIO(b"PAR1" + bomb + len(bomb).to_bytes(4, "little") + b"PAR1"))
