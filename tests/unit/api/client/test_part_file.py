"""The part of a file that is being downloaded."""

import fcntl
import hashlib
import os
from pathlib import Path

import httpx
import pytest

from api.client import PartInUse
from api.client.downloads import download_file
from api.client.part_file import resumed_part
from api.client.steps import Open, Read, Result, Work, advance
from core.schema.manifest import FileEntry

CONTENT = bytes(100_000)
STATED = FileEntry(path="a", bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


def test_a_part_that_got_its_name_while_it_was_opened_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, target = tmp_path / "a.part", tmp_path / "a"
    part.write_bytes(b"whole")
    lock = fcntl.flock

    def finish_and_lock(*arguments: int) -> None:
        part.replace(target)
        lock(*arguments)

    monkeypatch.setattr("api.client.part_file.fcntl.flock", finish_and_lock)
    with pytest.raises(PartInUse, match=r"a\.part"), resumed_part(part) as sink:
        sink.write(b"more")
    assert target.read_bytes() == b"whole"


def test_files_are_written_and_read_by_work_that_an_event_loop_leaves_to_a_thread(tmp_path: Path) -> None:
    steps = download_file("/v1/files/a/content", tmp_path / "a", STATED, lambda _: None)
    assert isinstance(advance(steps), Open)
    assert advance(steps, httpx.Response(200)) == Read()
    write = advance(steps, CONTENT)
    (part,) = tmp_path.iterdir()
    assert isinstance(write, Work)
    assert part.stat().st_size == 0
    write.function()
    assert advance(steps) == Read()
    check = advance(steps)
    assert isinstance(check, Work)
    assert isinstance(advance(steps, check.function()), Result)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_download_goes_on_where_the_system_has_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.client.part_file.fcntl", None)
    part = tmp_path / f"a.{STATED.sha256[:12]}.part"
    part.write_bytes(CONTENT[:100])
    rename = Path.replace

    def rename_closed(path: Path, target: Path) -> Path:
        assert str(path) not in [os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir()]
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", rename_closed)
    steps = download_file("/v1/files/a/content", tmp_path / "a", STATED, lambda _: None)
    opened = advance(steps)
    assert isinstance(opened, Open)
    assert opened.call.headers["Range"] == "bytes=100-"
    assert advance(steps, httpx.Response(206)) == Read()
    write = advance(steps, CONTENT[100:])
    assert isinstance(write, Work)
    write.function()
    assert advance(steps) == Read()
    check = advance(steps)
    assert isinstance(check, Work)
    assert isinstance(advance(steps, check.function()), Result)
    assert (tmp_path / "a").read_bytes() == CONTENT
