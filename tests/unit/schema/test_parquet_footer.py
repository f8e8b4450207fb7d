import io
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest

from core.schema.parquet_footer import read_footer

ONE_CHANGE_AT_EVERY_PLACE = """
import io, sys
from core.schema.bad_record import BadRecord
from core.schema.parquet import parquet_records
whole, refused = sys.stdin.buffer.read(), 0
for place in range(len(whole) - 8 - int.from_bytes(whole[-8:-4], "little"), len(whole)):
    for change in (1, 8, 255):
        data = bytearray(whole)
        data[place] ^= change
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
def test_the_footer_says_what_pyarrow_says_of_it(options: dict[str, object]) -> None:
    whole = written(**options)
    about = pyarrow.parquet.ParquetFile(io.BytesIO(whole)).metadata
    chunks = [about.row_group(group).column(column) for group in range(about.num_row_groups) for column in range(2)]
    said = read_footer(io.BytesIO(whole))
    assert said.uncompressed == sum(chunk.total_uncompressed_size for chunk in chunks)
    assert said.values == sum(chunk.num_values for chunk in chunks) == 200
    assert said.columns == [2] * about.num_row_groups


def test_no_damage_to_a_footer_ends_the_process() -> None:
    child = subprocess.run(
        [sys.executable, "-c", ONE_CHANGE_AT_EVERY_PLACE], input=written(), capture_output=True, timeout=300
    )
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
