import errno
import json
import os
import resource

import pytest
import torch

from core.lm import snapshots as module
from core.lm.fingerprint import Fingerprint
from core.lm.snapshots import STATE, Snapshots

MINE = Fingerprint({"torch": "2", "threads": 1}, b"digest of the records")


def some(root, *, fence=1, fingerprint=MINE):
    """(snapshots, what they report)."""
    events = []
    return Snapshots(root, fence, fingerprint, report=events.append), events


def tensors(value=1.0):
    return {"a/b": torch.full((3, 2), value), "c": torch.arange(4, dtype=torch.uint8), "empty": torch.zeros(0)}


def steps_on_disk(root):
    return sorted(int(folder.name) for folder in root.glob("*/*"))


def test_what_is_written_is_read_again_by_a_later_attempt(tmp_path):
    kept, events = some(tmp_path)
    values = {"big": 2**127 + 1, "list": [1, None, 0.1], "nan": float("inf")}
    assert kept.write(7, tensors(), values)
    assert [(event.kind, event.step) for event in events] == [("snapshot", 7)]
    again, events = some(tmp_path, fence=3)
    newest = again.newest()
    assert (newest.step, newest.values) == (7, values)
    found = dict(newest.tensors())
    assert found.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert found[name].equal(tensor)
        assert found[name].dtype == tensor.dtype
    assert events == []


def test_nothing_is_found_where_nothing_is(tmp_path):
    kept, events = some(tmp_path / "not" / "there")
    assert kept.newest() is None
    assert events == []


def test_the_newest_stays_and_the_others_go(tmp_path):
    for fence, step in ((1, 5), (1, 9), (2, 10), (2, 12)):
        kept, _ = some(tmp_path, fence=fence)
        (tmp_path / "1" / "partial-3").mkdir(parents=True, exist_ok=True)  # of an attempt that was killed
        assert kept.write(step, tensors(step), {})
        assert steps_on_disk(tmp_path) == [step]
    assert dict(some(tmp_path, fence=4)[0].newest().tensors())["a/b"].equal(torch.full((3, 2), 12.0))


def test_of_two_the_further_one_is_taken(tmp_path):
    for fence, step in ((1, 10), (2, 9)):
        some(tmp_path, fence=fence)[0].write(step, tensors(), {})
        os.rename(tmp_path / str(fence), tmp_path / f"aside-{fence}")
    for fence in (1, 2):
        os.rename(tmp_path / f"aside-{fence}", tmp_path / str(fence))
    assert some(tmp_path, fence=3)[0].newest().step == 10


def test_a_later_attempts_snapshots_are_neither_read_nor_removed(tmp_path):
    some(tmp_path, fence=5)[0].write(50, tensors(), {})
    late, _ = some(tmp_path, fence=4)
    assert late.newest() is None
    late.write(3, tensors(), {})
    assert steps_on_disk(tmp_path) == [3, 50]


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "no state", "half a state", "foreign state"])
def test_a_torn_snapshot_is_not_read_and_the_one_before_is(tmp_path, damage):
    some(tmp_path, fence=1)[0].write(5, tensors(), {})
    os.rename(tmp_path / "1", tmp_path / "aside")
    some(tmp_path, fence=2)[0].write(8, tensors(), {})
    os.rename(tmp_path / "aside", tmp_path / "1")
    (file,) = (tmp_path / "2" / "8").glob("*.safetensors")
    state = file.with_name(STATE)
    data = file.read_bytes()
    if damage == "cut":
        file.write_bytes(data[:-1])
    elif damage == "flipped":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "gone":
        file.unlink()
    elif damage == "no state":
        state.unlink()
    elif damage == "half a state":
        state.write_bytes(state.read_bytes()[:-9])
    else:
        state.write_text("{}")
    reader, events = some(tmp_path, fence=3)
    assert reader.newest().step == 5
    assert [event.code for event in events] == ["snapshot_not_used"]


def test_one_that_was_killed_while_it_wrote_is_not_read(tmp_path, monkeypatch):
    kept, _ = some(tmp_path)

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Path, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        kept.write(4, tensors(), {})
    monkeypatch.undo()
    assert list(tmp_path.glob("*/*/" + STATE))
    assert some(tmp_path, fence=2)[0].newest() is None


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (Fingerprint({"torch": "2", "threads": 2}, MINE.private), "another threads"),
        (Fingerprint({"torch": "2"}, MINE.private), "another threads"),
        (Fingerprint(MINE.facts, b"other records"), "another records"),
    ],
)
def test_a_snapshot_of_something_else_is_not_used_and_a_warning_says_so(tmp_path, other, named):
    some(tmp_path)[0].write(5, tensors(), {})
    reader, events = some(tmp_path, fence=2, fingerprint=other)
    assert reader.newest() is None
    assert [event.code for event in events] == ["snapshot_not_used"]
    assert named in events[0].message
    assert reader.write(1, tensors(), {})  # and makes room
    assert steps_on_disk(tmp_path) == [1]


def test_the_records_digest_cannot_be_recognised(tmp_path):
    for fence in (1, 2):
        some(tmp_path / str(fence), fence=fence)[0].write(1, tensors(), {})
    stored = [json.loads(path.read_text())["belongs_to"] for path in tmp_path.rglob(STATE)]
    assert MINE.private.hex() not in str(stored)
    assert stored[0]["private"] != stored[1]["private"]


def test_tensors_are_spread_over_files(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FILE_BYTES", 100)
    many = {str(number): torch.full((5,), float(number)) for number in range(20)} | {"large": torch.ones(1000)}
    some(tmp_path)[0].write(1, many, {})
    assert len(list(tmp_path.rglob("*.safetensors"))) == 5
    found = dict(some(tmp_path, fence=2)[0].newest().tensors())
    assert all(found[name].equal(tensor) for name, tensor in many.items())


def test_a_disk_that_takes_no_more_is_a_warning_and_the_snapshot_before_stays(tmp_path):
    kept, events = some(tmp_path)
    assert kept.write(1, tensors(), {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        assert not kept.write(2, {"a": torch.ones(100_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [event.code for event in events[1:]] == ["snapshot_failed"]
    assert str(tmp_path) not in events[1].message
    assert steps_on_disk(tmp_path) == [1]
    assert kept.newest().step == 1


def test_a_disk_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/secret")

    monkeypatch.setattr(module, "_flush", full)
    kept, events = some(tmp_path)
    assert not kept.write(1, tensors(), {})
    assert "No space left" in events[0].message
    assert "secret" not in events[0].message
    assert steps_on_disk(tmp_path) == []
