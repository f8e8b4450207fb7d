"""Folders as storage: behaviour beyond that of every storage (`test_storage.py`)."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from core.storage import StorageFull, StorageUnavailable, open_storage
from tests.integration.storage.content import DATA, chunks, cut
from tests.small_disk import small_disk


async def test_the_folder_is_readable_by_its_owner_alone(engine: AsyncEngine, tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}/with%20space/objects", engine)
    await storage.write("a/b", chunks(b"x"))
    assert (tmp_path / "with space" / "objects").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "with space" / "objects" / "a" / "b").read_bytes() == b"x"


async def test_a_write_to_a_full_disk_fails_leaves_nothing_and_succeeds_once_there_is_room(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", megabytes=2) as disk:
        storage = open_storage(f"file://{disk}/objects", engine)
        with pytest.raises(StorageFull, match="job-1/1/model"):
            await storage.write("checkpoints/job-1/1/model", cut(DATA))
        assert list((disk / "objects").rglob("*")) == []
        assert await storage.write("checkpoints/job-1/1/model", chunks(b"small")) == 5


async def test_a_folder_that_was_replaced_by_a_file_raises_storage_unavailable(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    storage = open_storage(f"file://{tmp_path}/objects", engine)
    (tmp_path / "objects").rmdir()
    (tmp_path / "objects").write_text("a file")
    with pytest.raises(StorageUnavailable, match="a/b"):
        await storage.write("a/b", chunks(b"x"))


async def test_empty_folders_are_deleted_once_they_are_old(engine: AsyncEngine, tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}/objects", engine)
    await storage.write("a/kept", chunks(b"x"))
    (tmp_path / "objects" / "checkpoints" / "job-1" / "1").mkdir(parents=True)
    await storage.delete_unfinished(timedelta(hours=1))
    assert (tmp_path / "objects" / "checkpoints" / "job-1" / "1").is_dir()
    await storage.delete_unfinished(timedelta(0))
    assert [path.name for path in (tmp_path / "objects").iterdir()] == ["a"]


async def test_several_deletions_of_unfinished_uploads_run_at_once(engine: AsyncEngine, tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}/objects", engine)
    for number in range(400):
        folder = tmp_path / "objects" / "checkpoints" / f"job-{number}"
        folder.mkdir(parents=True)
        (folder / f"model.safetensors#{number}").write_bytes(b"x")
    assert sum(await asyncio.gather(*(storage.delete_unfinished(timedelta(0)) for _ in range(4)))) >= 400
    assert list((tmp_path / "objects").iterdir()) == []
