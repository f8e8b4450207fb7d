"""Digests of model directories are kept, and never outlive the files that they are of."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.schema.manifest import digest, manifest
from worker import model_integrity
from worker.model_integrity import DigestCache


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "below").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "below" / "weights").write_bytes(bytes(1000))
    return folder


def test_files_are_read_once_while_they_stay_as_they_are(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = digest(manifest(directory))
    assert DigestCache(tmp_path / "known.json").of(directory) == expected
    monkeypatch.setattr(model_integrity, "manifest", lambda _: pytest.fail("the files were read again"))
    assert DigestCache(tmp_path / "known.json").of(directory) == expected


def test_a_changed_byte_shows_even_where_size_and_time_of_the_content_are_put_back(
    directory: Path, tmp_path: Path
) -> None:
    weights = directory / "below" / "weights"
    known = DigestCache(tmp_path / "known.json")
    before, times = known.of(directory), weights.stat()
    with weights.open("r+b") as file:
        file.seek(500)
        file.write(b"\x01")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert known.of(directory) != before


def test_a_file_of_digests_that_was_cut_short_is_made_again(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "known.json").write_text('{"cut')
    assert DigestCache(tmp_path / "known.json").of(directory) == digest(manifest(directory))


def test_jobs_that_begin_at_once_on_one_worker_keep_their_digests_side_by_side(directory: Path, tmp_path: Path) -> None:
    known, expected = DigestCache(tmp_path / "known.json"), digest(manifest(directory))

    def often(_: int) -> set[str]:
        found = set()
        for _ in range(50):
            (directory / "config.json").touch()  # so that it is read and kept anew
            found.add(known.of(directory))
        return found

    with ThreadPoolExecutor(4) as pool:
        assert set().union(*pool.map(often, range(4))) == {expected}


def test_a_disk_without_room_for_the_digests_is_no_fault_of_the_model(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("")
    assert DigestCache(tmp_path / "in the way" / "known.json").of(directory) == digest(manifest(directory))
