"""Pausing, resuming, trying again: what each makes of a job in each state."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from core.records import files, job_actions, leases, models, outbox, progress
from core.records.files import FileInUse
from core.records.job_actions import DataGone, NotAllowed
from core.records.jobs import FileUse
from core.records.tables import FileRow, JobRow
from core.schema.ids import new_id
from tests.integration.records.scene import Scene
from tests.integration.records.test_leases import claim

ERROR: dict[str, object] = {"code": "x", "message": "x", "blame": "service", "retryable": True}


async def wish(scene: Scene, name: str, job: str) -> JobRow:
    async with scene.sessions.begin() as session:
        row: JobRow | None = await getattr(job_actions, name)(session, scene.organisation, job)
    assert row is not None
    return row


async def fail(scene: Scene, job: str) -> None:
    row = await claim(scene)
    assert row is not None
    async with scene.sessions.begin() as session:
        await leases.fail_or_retry(session, await leases.lock_job(session, job, row.fence), ERROR, max_failures=1)


async def hints(scene: Scene) -> int:
    """How many hints wait; they are gone afterwards."""

    async def publish(_: str, __: dict[str, Any]) -> None:
        return None

    async with scene.sessions.begin() as session:
        return await outbox.relay(session, publish)


async def uploaded(scene: Scene) -> str:
    row = FileRow(
        id=new_id("file"),
        organisation=scene.organisation,
        purpose="forget",
        filename="forget.jsonl",
        format="jsonl",
        size=1,
        sha256="0" * 64,
        records=1,
        storage_key="files/x",
        wrapped_key=b"",
    )
    async with scene.sessions.begin() as session:
        session.add(row)
    return row.id


async def test_a_waiting_job_pauses_at_once_and_is_claimed_only_when_it_was_resumed(scene: Scene) -> None:
    job = await scene.job()
    assert (await wish(scene, "pause", job)).status == "paused"
    assert await claim(scene) is None
    await hints(scene)
    assert (await wish(scene, "resume", job)).status == "queued"
    assert await hints(scene) == 1
    assert await claim(scene)
    assert [event.type for event in await scene.events(job)] == ["created", "paused", "requeued", "started"]


async def test_a_running_job_is_asked_and_pauses_when_its_worker_lets_go(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    async with scene.sessions.begin() as session:
        await progress.set_steps(session, job, 1, step=3, steps=9, eta_seconds=1.0, points=[])
    for _ in range(2):  # asking twice is asking once
        row = await wish(scene, "pause", job)
        assert (row.status, row.requested) == ("running", "pause")
    async with scene.sessions.begin() as session:
        assert await leases.renew(session, job, 1, lease_seconds=30) == "pause"
        await leases.give_back(session, job, 1, reason="asked")
    row = await scene.row(job)
    assert (row.status, row.requested, row.failures, row.worker) == ("paused", None, 0, None)
    assert (row.step, row.steps, row.eta_seconds) == (3, 9, None)
    assert [event.type for event in await scene.events(job)][-2:] == ["pause_requested", "paused"]


async def test_a_wish_to_pause_can_be_taken_back(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    await wish(scene, "pause", job)
    row = await wish(scene, "resume", job)
    assert (row.status, row.requested) == ("running", None)
    async with scene.sessions.begin() as session:  # by a worker that had heard it already
        await leases.give_back(session, job, 1, reason="asked")
    assert (await scene.row(job)).status == "queued"


async def test_cancelling_goes_before_pausing(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    await wish(scene, "pause", job)
    async with scene.sessions.begin() as session:
        await job_actions.cancel(session, scene.organisation, job)
    for name in ("pause", "resume"):
        with pytest.raises(NotAllowed, match="being cancelled"):
            await wish(scene, name, job)
    async with scene.sessions.begin() as session:
        await leases.give_back(session, job, 1, reason="asked")
    assert (await scene.row(job)).status == "cancelled"
    paused = await scene.job()
    await wish(scene, "pause", paused)
    async with scene.sessions.begin() as session:
        await job_actions.cancel(session, scene.organisation, paused)
    assert (await scene.row(paused)).status == "cancelled"


async def test_what_cannot_be_is_refused_and_changes_nothing(scene: Scene) -> None:
    queued = await scene.job()
    paused, failed, running = await scene.job(gpus=1), await scene.job(gpus=2), await scene.job(gpus=3)
    await wish(scene, "pause", paused)
    await claim(scene, gpus=3)
    row = await claim(scene, gpus=2)
    assert row is not None
    async with scene.sessions.begin() as session:
        await leases.fail_or_retry(session, await leases.lock_job(session, failed, 1), ERROR, max_failures=1)
    refused = {queued: ("resume", "retry"), paused: ("pause", "retry"), failed: ("pause", "resume")}
    for job, names in {**refused, running: ("resume", "retry")}.items():
        before = await scene.row(job)
        for name in names:
            with pytest.raises(NotAllowed, match=before.status):
                await wish(scene, name, job)
        assert (await scene.row(job)).version == before.version
    async with scene.sessions.begin() as session:
        for one in (job_actions.pause, job_actions.resume, job_actions.retry):
            assert await one(session, scene.organisation, "job-none") is None
            assert await one(session, "org-other", queued) is None


async def test_a_failed_job_that_is_tried_again_has_as_many_attempts_as_any_other(scene: Scene) -> None:
    await scene.model()
    job = await scene.job()
    await fail(scene, job)
    await hints(scene)
    row = await wish(scene, "retry", job)
    assert (row.status, row.error, row.failures, row.finished_at, row.attempts) == ("queued", None, 0, None, 1)
    assert await hints(scene) == 1
    again = await claim(scene)
    assert again is not None
    assert (again.attempts, again.fence) == (2, 3)
    types = [event.type for event in await scene.events(job)]
    assert types == ["created", "started", "failed", "requeued", "started"]


async def test_a_job_whose_data_is_gone_is_not_tried_again(scene: Scene) -> None:
    await scene.model()
    file = await uploaded(scene)
    job = await scene.job(files=[FileUse(file, "forget")])
    await fail(scene, job)
    async with scene.sessions.begin() as session:
        await files.remove(session, scene.organisation, file)
    with pytest.raises(DataGone, match="file"):
        await wish(scene, "retry", job)
    other = await scene.job()
    await fail(scene, other)
    async with scene.sessions.begin() as session:
        await models.remove(session, scene.organisation, "demo")
    with pytest.raises(DataGone, match="model"):
        await wish(scene, "retry", other)
    assert (await scene.row(job)).status == (await scene.row(other)).status == "failed"


async def test_a_file_cannot_go_while_a_job_is_being_tried_again(scene: Scene) -> None:
    await scene.model()
    file = await uploaded(scene)
    job = await scene.job(files=[FileUse(file, "forget")])
    await fail(scene, job)

    async def remove() -> None:
        async with scene.sessions.begin() as session:
            await files.remove(session, scene.organisation, file)

    async with scene.sessions.begin() as session:
        await job_actions.retry(session, scene.organisation, job)
        removing = asyncio.create_task(remove())
        await asyncio.sleep(0.1)
        assert not removing.done()
    with pytest.raises(FileInUse):
        await removing
    async with scene.sessions() as session:
        assert await session.scalar(text("SELECT count(*) FROM files")) == 1
