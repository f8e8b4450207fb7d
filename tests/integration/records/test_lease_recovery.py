"""Recovery of jobs whose lease ran out, publication of hints, deletion of expired files."""

from typing import Any

import pytest
from sqlalchemy import text

from core.records import files, job_actions, job_status, lease_recovery, leases, outbox
from core.records.jobs import FileUse
from core.records.tables import FileRow
from core.schema.ids import new_id
from tests.integration.records.scene import Scene
from tests.integration.records.test_leases import claim


async def recover(scene: Scene, max_failures: int = 2) -> list[str]:
    async with scene.sessions.begin() as session:
        return await lease_recovery.recover_expired(session, max_failures=max_failures)


async def test_a_job_whose_lease_ran_out_is_queued_again_until_it_has_failed_too_often(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    assert await recover(scene) == []
    await scene.expire_lease(job)
    assert await recover(scene) == [job]
    row = await scene.row(job)
    assert (row.status, row.failures, row.fence) == ("queued", 1, 2)
    await scene.end_delay(job)
    await claim(scene)
    await scene.expire_lease(job)
    await recover(scene)
    row = await scene.row(job)
    assert (row.status, row.failures) == ("failed", 2)
    assert row.error is not None
    assert row.error["code"] == "worker_lost"


async def test_a_lost_job_with_a_request_to_cancel_is_cancelled(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    async with scene.sessions.begin() as session:
        await job_actions.cancel(session, scene.organisation, job)
    await scene.expire_lease(job)
    await recover(scene)
    row = await scene.row(job)
    assert (row.status, row.requested, row.failures) == ("cancelled", None, 0)


async def test_a_lost_job_with_a_request_to_pause_is_paused(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    async with scene.sessions.begin() as session:
        await job_actions.pause(session, scene.organisation, job)
    await scene.expire_lease(job)
    await recover(scene)
    row = await scene.row(job)
    assert (row.status, row.requested, row.failures) == ("paused", None, 0)


async def test_only_one_sweeper_gets_the_lock(scene: Scene) -> None:
    async with scene.sessions.begin() as first, scene.sessions.begin() as second:
        assert await lease_recovery.try_sweeper_lock(first)
        assert not await lease_recovery.try_sweeper_lock(second)
    async with scene.sessions.begin() as third:
        assert await lease_recovery.try_sweeper_lock(third)


async def test_hints_are_repeated_only_for_jobs_that_could_be_claimed(scene: Scene) -> None:
    await scene.job(start="head", gpus=2)
    assert await claim(scene, gpus=2)
    await scene.job(start="head", gpus=1)  # waits for the running job
    delayed = await scene.job(gpus=3)
    await claim(scene, gpus=3)
    async with scene.sessions.begin() as session:
        row = await leases.lock_job(session, delayed, 1)
        await job_status.end_attempt(session, row, reason="x", delay_seconds=60)
    await scene.job()
    async with scene.sessions() as session:
        assert list(await lease_recovery.claimable_gpu_counts(session)) == [0]


async def test_hints_are_published_at_least_once_and_in_order(scene: Scene) -> None:
    for gpus in (0, 2, 1):
        await scene.job(gpus=gpus)
    published: list[str] = []

    async def publish(topic: str, payload: dict[str, Any]) -> None:
        if topic == "unlearn.gpu1" and published.count("unlearn.cpu") == 1:
            raise ConnectionError
        published.append(topic)

    with pytest.raises(ConnectionError):
        async with scene.sessions.begin() as session:
            await outbox.relay(session, publish)
    async with scene.sessions.begin() as session:
        assert await outbox.relay(session, publish) == 3
    assert published == ["unlearn.cpu", "unlearn.gpu2", "unlearn.cpu", "unlearn.gpu2", "unlearn.gpu1"]
    async with scene.sessions.begin() as session:
        assert await outbox.relay(session, publish) == 0


async def test_a_transaction_that_is_rolled_back_leaves_no_hint(scene: Scene) -> None:
    job = await scene.job()
    async with scene.sessions() as session:
        await leases.claim(session, worker="w", gpus=0, lease_seconds=30)
        await leases.give_back(session, job, 1, reason="x")
        await session.rollback()
    async with scene.sessions() as session:
        assert await session.scalar(text("SELECT count(*) FROM outbox")) == 1
    assert (await scene.row(job)).fence == 0


async def test_expired_files_are_deleted_unless_a_job_needs_them(scene: Scene) -> None:
    async def upload(age: str | None) -> str:
        id = new_id("file")
        row = FileRow(
            id=id,
            organisation=scene.organisation,
            purpose="forget",
            filename="x",
            format="txt",
            size=1,
            sha256="",
            records=1,
            storage_key=f"files/{id}",
            wrapped_key=b"",
        )
        async with scene.sessions.begin() as session:
            session.add(row)
            await session.flush()
            if age is not None:
                past = text(f"UPDATE files SET expires_at = clock_timestamp() {age} WHERE id = :id")
                await session.execute(past, {"id": id})
        return id

    ages = ("- interval '1s'", "+ interval '1h'", None, "- interval '1s'")
    old, fresh, eternal, needed = [await upload(age) for age in ages]
    job = await scene.job(files=[FileUse(needed, "forget")])
    async with scene.sessions.begin() as session:
        assert await files.purge_expired(session, blind=str.upper) == [old]
        assert not await files.any_missing(session, job)
    async with scene.sessions() as session:
        kept = set(await session.scalars(text("SELECT id FROM files")))
    assert kept == {fresh, eternal, needed}
    async with scene.sessions.begin() as session:
        await job_actions.cancel(session, scene.organisation, job)
        assert await files.purge_expired(session, blind=str.upper) == [needed]
        assert await files.any_missing(session, job)
