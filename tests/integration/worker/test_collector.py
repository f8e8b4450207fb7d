"""Bytes that are nobody's are cleared away, and no others."""

from collections.abc import AsyncIterator

from sqlalchemy import text, update

from core.records import completion, job_actions, leases
from core.records.jobs import FileUse
from core.records.tables import ModelRow
from core.schema.ids import new_id
from tests.integration.records.test_completion import finish
from tests.integration.records.test_leases import claim
from tests.integration.worker.stage import Stage
from worker import collector
from worker.sweeper import sweep


async def some() -> AsyncIterator[bytes]:
    yield b"bytes"


async def test_checkpoints_under_dead_fences_go_and_delivered_ones_stay(stage: Stage) -> None:
    done, running = await stage.scene.job(), await stage.scene.job()
    await claim(stage.scene)
    await claim(stage.scene)
    async with stage.scene.sessions.begin() as session:
        await leases.give_back(session, done, 1, reason="shutdown")
    await claim(stage.scene)
    await finish(stage.scene, done, 3)
    keep = {
        completion.checkpoint_prefix(done, 3),
        completion.checkpoint_prefix(running, 1),
        completion.checkpoint_prefix("job-0123", 1),
    }
    drop = {completion.checkpoint_prefix(done, 1), completion.checkpoint_prefix(running, 0)}
    for prefix in keep | drop:
        await stage.storage.write(f"{prefix}/model.safetensors", some())
        await stage.storage.write(f"{prefix}/manifest.json", some())
    await stage.storage.write("files/file-1", some())
    assert await collector.collect_checkpoints(stage.scene.sessions, stage.storage) == 2
    left = {key.rsplit("/", 1)[0] async for key, _ in stage.storage.list()}
    assert left == keep | {"files"}


async def test_scratch_of_a_killed_worker_goes_and_that_of_a_running_attempt_stays(stage: Stage) -> None:
    lost, running = await stage.scene.job(), await stage.scene.job()
    await claim(stage.scene)
    await claim(stage.scene)
    for job in (lost, running):
        (stage.scratch / job / "1" / "tmp").mkdir(parents=True)
    assert await collector.collect_scratch(stage.scene.sessions, stage.scratch) == 0
    await stage.scene.expire_lease(lost)
    assert await sweep(stage.scene.sessions, max_failures=3) == [lost]
    assert await collector.collect_scratch(stage.scene.sessions, stage.scratch) == 1
    assert not (stage.scratch / lost).exists()
    assert (stage.scratch / running / "1").is_dir()


async def test_scratch_of_an_attempt_that_delivered_and_died_before_its_clean_up_goes(stage: Stage) -> None:
    job = await stage.scene.job()
    await claim(stage.scene)
    (stage.scratch / job / "1" / "checkpoint").mkdir(parents=True)
    (stage.scratch / job / "1" / "checkpoint" / "model.safetensors").write_bytes(b"weights")
    await stage.storage.write(f"{completion.checkpoint_prefix(job, 1)}/model.safetensors", some())
    await finish(stage.scene, job, 1)
    assert await collector.collect_scratch(stage.scene.sessions, stage.scratch) == 1
    assert not (stage.scratch / job).exists()
    assert await collector.collect_checkpoints(stage.scene.sessions, stage.storage) == 0


async def test_snapshots_stay_while_their_job_is_not_over_and_no_longer(stage: Stage) -> None:
    running, done, paused, cancelled = [await stage.scene.job() for _ in range(4)]
    for _ in range(2):
        await claim(stage.scene)
    await finish(stage.scene, done, 1)
    async with stage.scene.sessions.begin() as session:
        await job_actions.pause(session, stage.scene.organisation, paused)
        await job_actions.cancel(session, stage.scene.organisation, cancelled)
    unknown = new_id("job")
    for job in (running, done, paused, cancelled, unknown):
        (stage.scratch / job / "snapshots" / "1" / "9").mkdir(parents=True)
    (stage.scratch / done / "1").mkdir()  # an attempt's, which is not of this
    assert await collector.collect_snapshots(stage.scene.sessions, stage.scratch) == 2
    left = {folder.parent.name for folder in stage.scratch.glob("*/snapshots")}
    assert left == {running, paused, unknown}
    assert not (stage.scratch / cancelled).exists()
    assert (stage.scratch / done / "1").is_dir()


async def test_files_past_their_time_go_with_their_bytes(stage: Stage) -> None:
    old, needed = await stage.upload("forget", []), await stage.upload("forget", [])
    await stage.scene.job(files=[FileUse(needed, "forget")])
    default = await stage.upload("unseen", [])
    await stage.scene.model("with-defaults")
    async with stage.scene.sessions.begin() as session:
        defaults = {"retain": None, "unseen": default}
        await session.execute(update(ModelRow).where(ModelRow.id == "with-defaults").values(defaults=defaults))
        await session.execute(text("UPDATE files SET expires_at = clock_timestamp() - interval '1 second'"))
    assert await collector.collect_files(stage.scene.sessions, stage.storage) == 1
    assert {key async for key, _ in stage.storage.list("files")} == {f"files/{needed}", f"files/{default}"}
    async with stage.scene.sessions() as session:
        assert set(await session.scalars(text("SELECT id FROM files"))) == {needed, default}
    assert old != needed


async def test_an_old_upload_without_a_row_goes_and_a_young_one_stays(stage: Stage) -> None:
    kept = await stage.upload("forget", [])
    young, old = new_id("file"), f"file-{0x018000000000:012x}" + "7" * 20  # made in April 2022
    for file in (young, old):
        await stage.storage.write(f"files/{file}", some())
    assert await collector.collect_uploads(stage.scene.sessions, stage.storage) == 1
    left = {key async for key, _ in stage.storage.list("files")}
    assert left == {f"files/{kept}", f"files/{young}"}
