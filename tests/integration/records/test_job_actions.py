"""Requests to pause, resume, cancel and retry a job, in each of its states."""

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


async def request(scene: Scene, name: str, job: str) -> JobRow:
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
    """Publishes and counts the hints that wait."""

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


async def test_a_queued_job_pauses_at_once_and_is_claimed_only_after_it_is_resumed(scene: Scene) -> None:
    job = await scene.job()
    assert (await request(scene, "pause", job)).status == "paused"
    assert await claim(scene) is None
    await hints(scene)
    assert (await request(scene, "resume", job)).status == "queued"
    assert await hints(scene) == 1
    assert await claim(scene)
    assert [event.type for event in await scene.events(job)] == ["created", "paused", "requeued", "started"]


async def test_a_running_job_pauses_when_its_worker_gives_it_back(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    async with scene.sessions.begin() as session:
        await progress.set_steps(session, job, 1, step=3, steps=9, eta_seconds=1.0, points=[])
    for _ in range(2):  # a repeated request changes nothing
        row = await request(scene, "pause", job)
        assert (row.status, row.requested) == ("running", "pause")
    async with scene.sessions.begin() as session:
        assert await leases.renew(session, job, 1, lease_seconds=30) == "pause"
        await leases.give_back(session, job, 1, reason="asked")
    row = await scene.row(job)
    assert (row.status, row.requested, row.failures, row.worker) == ("paused", None, 0, None)
    assert (row.step, row.steps, row.eta_seconds) == (3, 9, None)
    assert [event.type for event in await scene.events(job)][-2:] == ["pause_requested", "paused"]


async def test_a_request_to_pause_can_be_withdrawn(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    await request(scene, "pause", job)
    row = await request(scene, "resume", job)
    assert (row.status, row.requested) == ("running", None)
    async with scene.sessions.begin() as session:  # by a worker that had seen the request already
        await leases.give_back(session, job, 1, reason="asked")
    assert (await scene.row(job)).status == "queued"


async def test_a_request_to_cancel_replaces_a_request_to_pause(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    await request(scene, "pause", job)
    async with scene.sessions.begin() as session:
        await job_actions.cancel(session, scene.organisation, job)
    for name in ("pause", "resume"):
        with pytest.raises(NotAllowed, match="being cancelled"):
            await request(scene, name, job)
    async with scene.sessions.begin() as session:
        await leases.give_back(session, job, 1, reason="asked")
    assert (await scene.row(job)).status == "cancelled"
    paused = await scene.job()
    await request(scene, "pause", paused)
    async with scene.sessions.begin() as session:
        await job_actions.cancel(session, scene.organisation, paused)
    assert (await scene.row(paused)).status == "cancelled"


async def test_a_request_that_the_status_does_not_allow_is_refused_and_changes_nothing(scene: Scene) -> None:
    queued = await scene.job()
    paused, failed, running = await scene.job(gpus=1), await scene.job(gpus=2), await scene.job(gpus=3)
    await request(scene, "pause", paused)
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
                await request(scene, name, job)
        assert (await scene.row(job)).version == before.version
    async with scene.sessions.begin() as session:
        for action in (job_actions.pause, job_actions.resume, job_actions.retry):
            assert await action(session, scene.organisation, "job-none") is None
            assert await action(session, "org-other", queued) is None


async def test_a_retried_job_has_as_many_attempts_as_a_new_one(scene: Scene) -> None:
    await scene.model()
    job = await scene.job()
    await fail(scene, job)
    await hints(scene)
    row = await request(scene, "retry", job)
    assert (row.status, row.error, row.failures, row.finished_at, row.attempts) == ("queued", None, 0, None, 1)
    assert await hints(scene) == 1
    attempt = await claim(scene)
    assert attempt is not None
    assert (attempt.attempts, attempt.fence) == (2, 3)
    types = [event.type for event in await scene.events(job)]
    assert types == ["created", "started", "failed", "requeued", "started"]


async def test_a_job_whose_data_was_deleted_cannot_be_retried(scene: Scene) -> None:
    await scene.model()
    file = await uploaded(scene)
    job = await scene.job(files=[FileUse(file, "forget")])
    await fail(scene, job)
    async with scene.sessions.begin() as session:
        await files.remove(session, scene.organisation, file, blind=str.upper)
    with pytest.raises(DataGone, match="file"):
        await request(scene, "retry", job)
    other = await scene.job()
    await fail(scene, other)
    async with scene.sessions.begin() as session:
        await models.remove(session, scene.organisation, "demo")
    with pytest.raises(DataGone, match="model"):
        await request(scene, "retry", other)
    assert (await scene.row(job)).status == (await scene.row(other)).status == "failed"


async def test_a_file_cannot_be_deleted_while_its_job_is_being_retried(scene: Scene) -> None:
    await scene.model()
    file = await uploaded(scene)
    job = await scene.job(files=[FileUse(file, "forget")])
    await fail(scene, job)

    async def remove() -> None:
        async with scene.sessions.begin() as session:
            await files.remove(session, scene.organisation, file, blind=str.upper)

    async with scene.sessions.begin() as session:
        await job_actions.retry(session, scene.organisation, job)
        removing = asyncio.create_task(remove())
        await asyncio.sleep(0.1)
        assert not removing.done()
    with pytest.raises(FileInUse):
        await removing
    async with scene.sessions() as session:
        assert await session.scalar(text("SELECT count(*) FROM files")) == 1
