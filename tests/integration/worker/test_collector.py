"""Bytes that nothing refers to are deleted, and only these."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text, update

from core.records import completion, job_actions, leases
from core.records.jobs import FileUse
from core.records.tables import ModelRow
from core.schema.ids import new_id
from core.storage import StorageError
from core.storage.file_keys import FileKeys
from core.storage.key_store import StoredKeys
from tests.integration.records.test_completion import finish
from tests.integration.records.test_leases import claim
from tests.integration.worker.worker_setup import WorkerSetup
from worker import collector
from worker.sweeper import sweep


async def content() -> AsyncIterator[bytes]:
    yield b"bytes"


async def test_checkpoints_under_dead_fences_are_deleted_and_delivered_ones_stay(setup: WorkerSetup) -> None:
    done, running = await setup.scene.job(), await setup.scene.job()
    await claim(setup.scene)
    await claim(setup.scene)
    async with setup.scene.sessions.begin() as session:
        await leases.give_back(session, done, 1, reason="shutdown")
    await claim(setup.scene)
    await finish(setup.scene, done, 3)
    kept = {
        completion.checkpoint_prefix(done, 3),
        completion.checkpoint_prefix(running, 1),
        completion.checkpoint_prefix("job-0123", 1),
    }
    dropped = {completion.checkpoint_prefix(done, 1), completion.checkpoint_prefix(running, 0)}
    for prefix in kept | dropped:
        await setup.storage.write(f"{prefix}/model.safetensors", content())
        await setup.storage.write(f"{prefix}/manifest.json", content())
    await setup.storage.write("files/file-1", content())
    assert await collector.collect_checkpoints(setup.scene.sessions, setup.storage) == 2
    left = {key.rsplit("/", 1)[0] async for key, _ in setup.storage.list()}
    assert left == kept | {"files"}


async def test_a_killed_workers_scratch_is_removed_and_a_running_attempts_stays(setup: WorkerSetup) -> None:
    lost, running = await setup.scene.job(), await setup.scene.job()
    await claim(setup.scene)
    await claim(setup.scene)
    for job in (lost, running):
        (setup.scratch / job / "1" / "tmp").mkdir(parents=True)
    assert await collector.collect_scratch(setup.scene.sessions, setup.scratch) == 0
    await setup.scene.expire_lease(lost)
    assert await sweep(setup.scene.sessions, max_failures=3) == [lost]
    assert await collector.collect_scratch(setup.scene.sessions, setup.scratch) == 1
    assert not (setup.scratch / lost).exists()
    assert (setup.scratch / running / "1").is_dir()


async def test_the_scratch_of_an_attempt_that_died_between_finish_and_clean_up_is_removed(setup: WorkerSetup) -> None:
    job = await setup.scene.job()
    await claim(setup.scene)
    (setup.scratch / job / "1" / "checkpoint").mkdir(parents=True)
    (setup.scratch / job / "1" / "checkpoint" / "model.safetensors").write_bytes(b"weights")
    await setup.storage.write(f"{completion.checkpoint_prefix(job, 1)}/model.safetensors", content())
    await finish(setup.scene, job, 1)
    assert await collector.collect_scratch(setup.scene.sessions, setup.scratch) == 1
    assert not (setup.scratch / job).exists()
    assert await collector.collect_checkpoints(setup.scene.sessions, setup.storage) == 0


async def test_snapshots_stay_until_their_job_ends_and_no_longer(setup: WorkerSetup) -> None:
    running, done, paused, cancelled = [await setup.scene.job() for _ in range(4)]
    for _ in range(2):
        await claim(setup.scene)
    await finish(setup.scene, done, 1)
    async with setup.scene.sessions.begin() as session:
        await job_actions.pause(session, setup.scene.organisation, paused)
        await job_actions.cancel(session, setup.scene.organisation, cancelled)
    unknown = new_id("job")
    for job in (running, done, paused, cancelled, unknown):
        (setup.scratch / job / "snapshots" / "1" / "9").mkdir(parents=True)
    (setup.scratch / done / "1").mkdir()  # an attempt's folder: another collector removes it
    assert await collector.collect_snapshots(setup.scene.sessions, setup.scratch, setup.keys) == 2
    left = {folder.parent.name for folder in setup.scratch.glob("*/snapshots")}
    assert left == {running, paused, unknown}
    assert not (setup.scratch / cancelled).exists()
    assert (setup.scratch / done / "1").is_dir()


async def test_a_key_store_out_of_reach_keeps_no_snapshot_on_the_disk(setup: WorkerSetup) -> None:
    class UnreachableKeys(StoredKeys):
        async def delete(self, id: str) -> None:
            raise StorageError(f"{id} cannot be deleted now")

    keys = FileKeys(setup.settings.service_key(), UnreachableKeys(setup.storage))
    for _ in range(2):
        job = await setup.scene.job()
        (setup.scratch / job / "snapshots" / "1" / "9").mkdir(parents=True)
        async with setup.scene.sessions.begin() as session:
            await job_actions.cancel(session, setup.scene.organisation, job)
    with pytest.raises(StorageError):
        await collector.collect_snapshots(setup.scene.sessions, setup.scratch, keys)
    assert list(setup.scratch.iterdir()) == []


async def test_expired_files_are_deleted_with_their_bytes(setup: WorkerSetup) -> None:
    old, needed = await setup.upload("forget", []), await setup.upload("forget", [])
    await setup.scene.job(files=[FileUse(needed, "forget")])
    default = await setup.upload("unseen", [])
    await setup.scene.model("with-defaults")
    async with setup.scene.sessions.begin() as session:
        defaults = {"retain": None, "unseen": default}
        await session.execute(update(ModelRow).where(ModelRow.id == "with-defaults").values(defaults=defaults))
        await session.execute(text("UPDATE files SET expires_at = clock_timestamp() - interval '1 second'"))
    assert await collector.collect_files(setup.scene.sessions, setup.storage, setup.keys) == 1
    assert {key async for key, _ in setup.storage.list("files")} == {f"files/{needed}", f"files/{default}"}
    async with setup.scene.sessions() as session:
        assert set(await session.scalars(text("SELECT id FROM files"))) == {needed, default}
    assert old != needed


async def test_an_old_upload_without_a_row_is_deleted_and_a_young_one_stays(setup: WorkerSetup) -> None:
    kept = await setup.upload("forget", [])
    young, old = new_id("file"), f"file-{0x018000000000:012x}" + "7" * 20  # made in April 2022
    for file in (young, old):
        await setup.storage.write(f"files/{file}", content())
    assert await collector.collect_uploads(setup.scene.sessions, setup.storage, setup.keys) == 1
    left = {key async for key, _ in setup.storage.list("files")}
    assert left == {f"files/{kept}", f"files/{young}"}
