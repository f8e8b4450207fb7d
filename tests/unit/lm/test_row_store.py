import gc
import mmap
import os

import pytest
import torch

from core.lm import row_store
from core.lm.process_group import SINGLE_RANK
from core.lm.row_store import RowStore

WIDTHS = [((3,), torch.bfloat16), ((8,), torch.float32), ((), torch.int64), ((2, 5), torch.float64)]


def filled_store(rows, shape, dtype):
    values = torch.arange(rows * max(1, torch.Size(shape).numel())).reshape(rows, *shape).to(dtype)
    store = RowStore(rows, shape, dtype, SINGLE_RANK)
    for start, stop in ((4, rows), (0, 1), (1, 4)):
        store.put(start, values[start:stop])
    return values, store


@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["on disk", "in memory"])
@pytest.mark.parametrize(("shape", "dtype"), WIDTHS)
def test_rows_come_back_as_they_were_put_in_any_order(monkeypatch, limit, shape, dtype):
    monkeypatch.setattr(row_store, "IN_MEMORY", limit)
    values, store = filled_store(11, shape, dtype)
    for index in ([0], [3, 4, 5, 9, 10, 2], list(range(11)), [7, 7, 6], []):
        assert store.rows(torch.tensor(index, dtype=torch.long)).equal(values[index])
    assert store.all_rows().equal(values)


def test_a_store_on_disk_has_no_name_and_is_encrypted(monkeypatch, tmp_path):
    monkeypatch.setattr(row_store, "IN_MEMORY", 0)
    monkeypatch.setattr(row_store.tempfile, "tempdir", str(tmp_path))
    opened = []
    mapped = mmap.mmap
    monkeypatch.setattr(row_store.mmap, "mmap", lambda fd, size: opened.append(os.dup(fd)) or mapped(fd, size))
    values, _ = filled_store(64, (16,), torch.float32)
    assert list(tmp_path.iterdir()) == []
    stored = os.pread(opened[0], 64 * 64, 0)
    os.close(opened[0])
    assert len(stored) == 64 * 64
    for row in values:
        assert row.numpy().tobytes()[:16] not in stored
    assert len({stored[start : start + 64] for start in range(0, len(stored), 64)}) == 64
    equal_rows = RowStore(2, (16,), torch.float32, SINGLE_RANK)
    equal_rows.put(0, values[:1])
    equal_rows.put(1, values[:1])
    assert equal_rows._memory[:64] != equal_rows._memory[64:], "equal rows do not look equal"


def test_a_stores_file_is_closed_with_it(monkeypatch):
    monkeypatch.setattr(row_store, "IN_MEMORY", 0)
    before = len(os.listdir("/proc/self/fd"))
    store = filled_store(11, (8,), torch.float32)
    del store
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
