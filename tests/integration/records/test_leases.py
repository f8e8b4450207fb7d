"""A worker that holds a job's lease may write; no other worker can."""

import asyncio

import pytest

from core.records import job_actions, leases, workers
from core.records.leases import FenceLost
from core.records.tables import JobRow
from tests.integration.records.scene import Scene


async def claim(scene: Scene, *, gpus: int = 0, worker: str = "w1") -> JobRow | None:
    async with scene.sessions.begin() as session:
        return await leases.claim(session, worker=worker, gpus=gpus, lease_seconds=30)


async def test_the_oldest_job_of_the_class_is_claimed_first(scene: Scene) -> None:
    first, second, large = await scene.job(), await scene.job(), await scene.job(gpus=1)
    claimed = [await claim(scene), await claim(scene), await claim(scene, gpus=1)]
    assert [job.id for job in claimed if job] == [first, second, large]
    assert await claim(scene) is None
    row = await scene.row(first)
    assert (row.status, row.fence, row.attempts, row.failures, row.worker) == ("running", 1, 1, 0, "w1")
    assert row.started_at is not None
    assert [event.type for event in await scene.events(first)] == ["created", "started"]


async def test_two_claims_at_once_never_take_the_same_job(scene: Scene) -> None:
    wanted = {await scene.job() for _ in range(4)}
    claimed = await asyncio.gather(*(claim(scene) for _ in range(6)))
    assert sorted(job.id for job in claimed if job) == sorted(wanted)


async def test_jobs_from_one_head_run_one_at_a_time_in_order(scene: Scene) -> None:
    await scene.model("other")
    first, second = await scene.job(start="head"), await scene.job(start="head")
    elsewhere = await scene.job(model="other", start="head")
    from_base = await scene.job(start="base")
    claimed = [await claim(scene) for _ in range(4)]
    assert [job.id if job else None for job in claimed] == [first, elsewhere, from_base, None]
    async with scene.sessions.begin() as session:
        await leases.confirm_cancel(session, first, 1)
    job = await claim(scene)
    assert job is not None
    assert job.id == second


async def test_a_late_commit_of_an_earlier_id_does_not_delay_other_models(scene: Scene) -> None:
    """Ids are made before rows are committed: a later job may run already when an earlier id appears."""
    await scene.model("other")
    early, late = sorted(("job-" + "0" * 31 + "1", "job-" + "0" * 31 + "2"))
    await scene.job(id=late, start="head")
    assert await claim(scene)
    await scene.job(id=early, start="head")
    unblocked = await scene.job(model="other", start="head")
    job = await claim(scene)
    assert job is not None
    assert job.id == unblocked


async def test_a_job_is_not_claimed_before_its_delay_is_over(scene: Scene) -> None:
    job = await scene.job()
    claimed = await claim(scene)
    assert claimed is not None
    error: dict[str, object] = {"code": "x", "message": "x", "blame": "service", "retryable": True}
    async with scene.sessions.begin() as session:
        row = await leases.lock_job(session, job, claimed.fence)
        assert await leases.fail_or_retry(session, row, error, max_failures=3) == "queued"
    assert await claim(scene) is None
    await scene.end_delay(job)
    attempt = await claim(scene)
    assert attempt is not None
    assert (attempt.fence, attempt.attempts, attempt.failures) == (3, 2, 1)


async def test_an_error_that_no_retry_can_help_fails_the_job_at_once(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    error: dict[str, object] = {"code": "bad_model", "message": "x", "blame": "user", "retryable": False}
    async with scene.sessions.begin() as session:
        row = await leases.lock_job(session, job, 1)
        assert await leases.fail_or_retry(session, row, error, max_failures=3) == "failed"
    row = await scene.row(job)
    assert (row.status, row.error, row.fence, row.lease_expires_at) == ("failed", error, 2, None)
    assert row.finished_at is not None


async def test_a_worker_that_lost_its_fence_can_change_nothing(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    async with scene.sessions.begin() as session:
        await leases.give_back(session, job, 1, reason="shutdown")
    before = await scene.row(job)
    for change in (
        lambda session: leases.renew(session, job, 1, lease_seconds=30),
        lambda session: leases.give_back(session, job, 1, reason="x"),
        lambda session: leases.confirm_cancel(session, job, 1),
        lambda session: leases.renew(session, job, before.fence, lease_seconds=30),  # the present fence, but no lease
    ):
        with pytest.raises(FenceLost):
            async with scene.sessions.begin() as session:
                await change(session)
    after = await scene.row(job)
    assert (after.status, after.fence, after.version) == ("queued", before.fence, before.version)


async def test_a_job_that_is_given_back_has_no_failure_more_and_can_be_claimed(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    async with scene.sessions.begin() as session:
        await leases.give_back(session, job, 1, reason="shutdown")
    row = await scene.row(job)
    assert (row.status, row.failures, row.attempts, row.worker, row.phase) == ("queued", 0, 1, None, None)
    assert (await scene.events(job))[-1].data == {"reason": "shutdown"}
    assert await claim(scene)


async def test_a_renewal_returns_the_request_to_cancel_a_running_job(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    async with scene.sessions.begin() as session:
        assert await leases.renew(session, job, 1, lease_seconds=30) is None
    async with scene.sessions.begin() as session:
        await job_actions.cancel(session, scene.organisation, job)
    assert (await scene.row(job)).status == "running"
    async with scene.sessions.begin() as session:
        assert await leases.renew(session, job, 1, lease_seconds=30) == "cancel"
    async with scene.sessions.begin() as session:
        await leases.give_back(session, job, 1, reason="shutdown")
    assert (await scene.row(job)).status == "cancelled"


async def test_workers_that_are_up_are_counted_by_their_gpus(scene: Scene) -> None:
    async with scene.sessions.begin() as session:
        await workers.mark_up(session, worker="small", slots=1, gpus=0)
        await workers.mark_up(session, worker="large", slots=3, gpus=2)
        assert await workers.count_up(session, gpus=0, stale_seconds=30) == 2
        assert await workers.count_up(session, gpus=2, stale_seconds=30) == 1
        await workers.mark_stopped(session, worker="large")
        assert await workers.count_up(session, gpus=0, stale_seconds=30) == 1
