"""The two kinds of the benchmark keep the same tensors, and its table compares them."""

from pathlib import Path

import pytest
import torch

from benchmarks.snapshots import MEBIBYTE, Kind, Plain, Sealed, Times, table


@pytest.mark.parametrize("kind", [Sealed(), Plain()], ids=lambda kind: type(kind).__name__)
def test_a_kind_reads_what_it_wrote(tmp_path: Path, kind: Kind) -> None:
    tensors = {str(number): torch.rand(number + 1) for number in range(20)}
    kind.write(tmp_path, tensors)
    read = dict(kind.read(tmp_path))
    assert read.keys() == tensors.keys()
    assert all(read[name].equal(tensor) for name, tensor in tensors.items())


def test_the_table_gives_speeds_and_their_ratio() -> None:
    times = {"sealed": Times([2.0, 1.0, 4.0], [1.0]), "plain": Times([4.0], [1.0])}
    lines = table(times, 8 * MEBIBYTE).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["write", "8 MiB", "4 (2–8)", "2 (2–2)", "2.00"]
    assert lines[3].split("|")[-2].strip() == "1.00"
