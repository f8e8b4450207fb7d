import errno
import os
import resource

import pytest
import torch

from core.lm import snapshots as module
from core.lm.errors import CoreError
from core.lm.fingerprint import Fingerprint
from core.lm.snapshots import STATE, Snapshots

KEY = bytes(range(32))
FINGERPRINT = Fingerprint({"torch": "2", "threads": 1}, b"digest of the records")


def snapshots_and_events(root, *, fence=1, fingerprint=FINGERPRINT, key=KEY):
    """Returns an attempt's snapshots, and the list of the events that they report."""
    events = []
    return Snapshots(root, fence, fingerprint, key=key, report=events.append), events


def tensors(value=1.0):
    return {"a/b": torch.full((3, 2), value), "c": torch.arange(4, dtype=torch.uint8), "empty": torch.zeros(0)}


def steps_on_disk(root):
    return sorted(int(folder.name) for folder in root.glob("*/*"))


def test_a_later_attempt_reads_the_snapshot(tmp_path):
    snapshots, events = snapshots_and_events(tmp_path)
    values = {"big": 2**127 + 1, "list": [1, None, 0.1], "nan": float("inf")}
    assert snapshots.write(7, tensors(), values)
    assert [(event.kind, event.step) for event in events] == [("snapshot", 7)]
    later, events = snapshots_and_events(tmp_path, fence=3)
    newest = later.newest()
    assert (newest.step, newest.values) == (7, values)
    stored = dict(newest.tensors())
    assert stored.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert stored[name].equal(tensor)
        assert stored[name].dtype == tensor.dtype
    assert events == []


def test_without_a_folder_there_is_no_snapshot_and_no_warning(tmp_path):
    snapshots, events = snapshots_and_events(tmp_path / "not" / "there")
    assert snapshots.newest() is None
    assert events == []


def test_the_newest_snapshot_is_kept_and_the_others_are_removed(tmp_path):
    for fence, step in ((1, 5), (1, 9), (2, 10), (2, 12)):
        snapshots, _ = snapshots_and_events(tmp_path, fence=fence)
        (tmp_path / "1" / "partial-3").mkdir(parents=True, exist_ok=True)  # left by an attempt that was killed
        assert snapshots.write(step, tensors(step), {})
        assert steps_on_disk(tmp_path) == [step]
    assert dict(snapshots_and_events(tmp_path, fence=4)[0].newest().tensors())["a/b"].equal(torch.full((3, 2), 12.0))


def test_the_snapshot_of_the_highest_step_is_used(tmp_path):
    for fence, step in ((1, 10), (2, 9)):
        snapshots_and_events(tmp_path, fence=fence)[0].write(step, tensors(), {})
        os.rename(tmp_path / str(fence), tmp_path / f"aside-{fence}")
    for fence in (1, 2):
        os.rename(tmp_path / f"aside-{fence}", tmp_path / str(fence))
    assert snapshots_and_events(tmp_path, fence=3)[0].newest().step == 10


def test_a_later_attempts_snapshots_are_neither_read_nor_removed(tmp_path):
    snapshots_and_events(tmp_path, fence=5)[0].write(50, tensors(), {})
    late, _ = snapshots_and_events(tmp_path, fence=4)
    assert late.newest() is None
    late.write(3, tensors(), {})
    assert steps_on_disk(tmp_path) == [3, 50]


@pytest.mark.parametrize(
    "damage", ["cut", "flipped", "gone", "no state", "half a state", "foreign state", "another place"]
)
def test_a_damaged_snapshot_is_not_read_and_the_one_before_is(tmp_path, damage):
    snapshots_and_events(tmp_path, fence=1)[0].write(5, tensors(), {})
    os.rename(tmp_path / "1", tmp_path / "aside")
    snapshots_and_events(tmp_path, fence=2)[0].write(8, tensors(), {})
    os.rename(tmp_path / "aside", tmp_path / "1")
    (file,) = (tmp_path / "2" / "8").glob("tensors-*")
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
    elif damage == "foreign state":
        state.write_text("{}")
    else:  # whole, and of this job, but of another snapshot
        other = tmp_path / "1" / "5" / file.name
        file.write_bytes(other.read_bytes())
    reader, events = snapshots_and_events(tmp_path, fence=3)
    assert reader.newest().step == 5
    assert [event.code for event in events] == ["snapshot_not_used"]


def test_a_snapshot_whose_writing_was_interrupted_is_not_read(tmp_path, monkeypatch):
    snapshots, _ = snapshots_and_events(tmp_path)

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Path, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        snapshots.write(4, tensors(), {})
    monkeypatch.undo()
    assert list(tmp_path.glob("*/*/" + STATE))
    assert snapshots_and_events(tmp_path, fence=2)[0].newest() is None


@pytest.mark.parametrize(
    ("fingerprint", "named"),
    [
        (Fingerprint({"torch": "2", "threads": 2}, FINGERPRINT.private), "another threads"),
        (Fingerprint({"torch": "2"}, FINGERPRINT.private), "another threads"),
        (Fingerprint(FINGERPRINT.facts, b"other records"), "another records"),
    ],
)
def test_a_snapshot_with_another_fingerprint_is_not_used_and_a_warning_names_the_difference(
    tmp_path, fingerprint, named
):
    snapshots_and_events(tmp_path)[0].write(5, tensors(), {})
    reader, events = snapshots_and_events(tmp_path, fence=2, fingerprint=fingerprint)
    assert reader.newest() is None
    assert [event.code for event in events] == ["snapshot_not_used"]
    assert named in events[0].message
    assert reader.write(1, tensors(), {})  # and makes room
    assert steps_on_disk(tmp_path) == [1]


def test_no_weight_and_no_value_can_be_read_without_the_key(tmp_path):
    weight, values = torch.rand(64, 64), {"order": "the first record, the second record", "token ids": [1234, 5678]}
    snapshots_and_events(tmp_path)[0].write(3, {"weight": weight}, values)
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert len(written) > weight.nbytes
    rows = [row.numpy().tobytes()[:8] for row in weight]
    for plain in (*rows, b"weight", b"the first record", b"1234", FINGERPRINT.private.hex().encode(), b"threads"):
        assert plain not in written
    reader, events = snapshots_and_events(tmp_path, fence=2, key=bytes(32))
    assert reader.newest() is None
    assert "its key was destroyed" in events[0].message
    assert dict(snapshots_and_events(tmp_path, fence=2)[0].newest().tensors())["weight"].equal(weight)


def test_a_snapshot_that_breaks_while_it_is_read_ends_the_attempt_by_name(tmp_path):
    snapshots, _ = snapshots_and_events(tmp_path)
    snapshots.write(1, tensors(), {})
    newest = snapshots.newest()
    (file,) = tmp_path.rglob("tensors-*")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CoreError) as caught:
        list(newest.tensors())
    assert (caught.value.code, caught.value.blame, caught.value.retryable) == ("snapshot_damaged", "service", True)


def test_tensors_are_spread_over_files(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FILE_BYTES", 100)
    written = {str(number): torch.full((5,), float(number)) for number in range(20)} | {"large": torch.ones(1000)}
    snapshots_and_events(tmp_path)[0].write(1, written, {})
    assert len(list(tmp_path.rglob("tensors-*"))) == 5
    stored = dict(snapshots_and_events(tmp_path, fence=2)[0].newest().tensors())
    assert all(stored[name].equal(tensor) for name, tensor in written.items())


def test_a_full_disk_is_a_warning_and_the_snapshot_before_is_kept(tmp_path):
    snapshots, events = snapshots_and_events(tmp_path)
    assert snapshots.write(1, tensors(), {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        assert not snapshots.write(2, {"a": torch.ones(100_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [event.code for event in events[1:]] == ["snapshot_failed"]
    assert str(tmp_path) not in events[1].message
    assert steps_on_disk(tmp_path) == [1]
    assert snapshots.newest().step == 1


def test_a_disk_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/secret")

    monkeypatch.setattr(module, "flush_to_disk", full)
    snapshots, events = snapshots_and_events(tmp_path)
    assert not snapshots.write(1, tensors(), {})
    assert "No space left" in events[0].message
    assert "secret" not in events[0].message
    assert steps_on_disk(tmp_path) == []
