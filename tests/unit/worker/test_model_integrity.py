"""Digests of model directories are cached, and never outlive their files."""

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


def test_unchanged_files_are_read_once(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = digest(manifest(directory))
    assert DigestCache(tmp_path / "known.json").digest_of(directory) == expected
    monkeypatch.setattr(model_integrity, "manifest", lambda _: pytest.fail("the files were read again"))
    assert DigestCache(tmp_path / "known.json").digest_of(directory) == expected


def test_a_changed_byte_is_noticed_even_where_size_and_mtime_are_restored(directory: Path, tmp_path: Path) -> None:
    weights = directory / "below" / "weights"
    digests = DigestCache(tmp_path / "known.json")
    before, times = digests.digest_of(directory), weights.stat()
    with weights.open("r+b") as file:
        file.seek(500)
        file.write(b"\x01")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digests.digest_of(directory) != before


def test_a_truncated_cache_file_is_written_again(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "known.json").write_text('{"cut')
    assert DigestCache(tmp_path / "known.json").digest_of(directory) == digest(manifest(directory))


def test_threads_that_read_and_write_the_cache_at_once_get_the_right_digest(directory: Path, tmp_path: Path) -> None:
    digests, expected = DigestCache(tmp_path / "known.json"), digest(manifest(directory))

    def read_often(_: int) -> set[str]:
        read = set()
        for _ in range(50):
            (directory / "config.json").touch()  # so that the files are read and their digest written again
            read.add(digests.digest_of(directory))
        return read

    with ThreadPoolExecutor(4) as pool:
        assert set().union(*pool.map(read_often, range(4))) == {expected}


def test_a_disk_without_room_for_the_cache_is_not_the_models_fault(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("")
    assert DigestCache(tmp_path / "in the way" / "known.json").digest_of(directory) == digest(manifest(directory))
