"""Leases: a worker claims a job by raising its fence, renews a lease while it works, and checks the fence in every
transaction.

Fences only ever rise. A worker whose fence is no longer the job's has lost the job: a duplicate, a late worker or a
second finish changes nothing.
"""

from collections.abc import Mapping

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql import ColumnElement

from core.records import job_status, shared_runs
from core.records.clock import seconds_from_now
from core.records.job_status import HeadBusy
from core.records.tables import JobRow, ModelRow


class FenceLost(Exception):
    """The worker no longer holds the job: another worker does, or the job is over. Stop, and write nothing more."""


def claimable() -> ColumnElement[bool]:
    """The condition on a row of jobs under which it may be claimed now.

    A job that starts from its model's head waits for earlier jobs that do, and for any such job that runs: ids are made
    before rows are committed, so a later job may have started already.
    """
    other = aliased(JobRow)
    blocked = exists().where(
        other.organisation == JobRow.organisation,
        other.model == JobRow.model,
        other.start == "head",
        ((other.id < JobRow.id) & other.status.in_(("queued", "paused"))) | (other.status == "running"),
    )
    due = and_(JobRow.status == "queued", JobRow.run_after <= func.clock_timestamp())
    return and_(due, or_(JobRow.start != "head", ~blocked))


async def claim(session: AsyncSession, *, worker: str, gpus: int, lease_seconds: float) -> JobRow | None:
    """Claims the oldest queued job that needs exactly `gpus` GPUs; None where there is none to claim.

    Jobs that start from one model's head are claimed in the order of their ids and never two at a time, but for jobs
    that share a run (`shared_runs.join`). The claim pins the head that the job starts from.
    """
    query = (
        select(JobRow)
        .where(claimable(), JobRow.gpus == gpus)
        .order_by(JobRow.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    job = await session.scalar(query)
    if job is None:
        return None
    if job.start == "head":
        head = select(ModelRow.head).where(ModelRow.organisation == job.organisation, ModelRow.id == job.model)
        job.start_checkpoint = await session.scalar(head)
    former, job.shared_run = job.shared_run, None
    try:
        await job_status.start(session, job, worker=worker, lease_seconds=lease_seconds)
        await shared_runs.join(session, job, former=former, worker=worker, lease_seconds=lease_seconds)
    except HeadBusy:  # of two claims at once on one model's head, the unique index lets one through
        await session.rollback()
        return None
    await session.flush()
    await session.refresh(job)
    return job


async def lock_job(session: AsyncSession, job: str, fence: int) -> JobRow:
    """The job's row, locked, if `fence` still holds it. Every transaction of a worker begins with this."""
    row = await session.scalar(select(JobRow).where(JobRow.id == job).with_for_update())
    if row is None or row.fence != fence or row.status != "running":
        raise FenceLost(job)
    return row


async def lock_jobs(session: AsyncSession, held: Mapping[str, int]) -> None:
    """Locks the rows of several jobs, given with their fences, as `lock_job` does.

    A transaction that changes several jobs calls it first: rows that it locked one after the other, with changes in
    between, could wait in a circle with another transaction.
    """
    for job in sorted(held):
        await lock_job(session, job, held[job])


async def renew(session: AsyncSession, job: str, fence: int, *, lease_seconds: float) -> str | None:
    """Prolongs the lease and returns the job's pending request (`cancel`, `pause` or None)."""
    row = await lock_job(session, job, fence)
    row.lease_expires_at = seconds_from_now(lease_seconds)
    return row.requested


async def give_back(session: AsyncSession, job: str, fence: int, *, reason: str) -> str:
    """Gives the job back to the queue, or pauses or cancels it where that was requested. Returns the new status.

    It counts as no failure: a worker's shutdown costs the job no attempt.
    """
    row = await lock_job(session, job, fence)
    await job_status.end_attempt(session, row, reason=reason)
    return row.status


async def leave_run(session: AsyncSession, job: str, fence: int) -> str:
    """Ends the attempt of a job in a run that one of its jobs is to leave: pauses or cancels the job where that was
    requested, else queues it again. Returns the new status."""
    row = await lock_job(session, job, fence)
    await job_status.end_attempt(session, row, reason="asked" if row.requested else "shared_run_changed")
    return row.status


async def fail_or_retry(session: AsyncSession, row: JobRow, error: dict[str, object], *, max_failures: int) -> str:
    """Ends a failed attempt: queues the job again where a retry can help and attempts are left, else fails it.

    A run that jobs share fails none of them: each is queued again to run by itself, since another job's data may be at
    fault. Returns the new status.
    """
    row.failures += 1
    if error["retryable"] and row.failures < max_failures:
        delay_seconds = min(2.0**row.failures, 60.0)
        await job_status.end_attempt(session, row, reason=str(error["code"]), delay_seconds=delay_seconds)
        return row.status
    if row.shared_run is not None:
        row.failures, row.combine_key, row.shared_run = 0, None, None
        await job_status.end_attempt(session, row, reason="shared_run_failed")
        return row.status
    await job_status.fail(session, row, error)
    return row.status


async def confirm_cancel(session: AsyncSession, job: str, fence: int) -> None:
    """Cancels the job whose worker has stopped because of a request to cancel."""
    row = await lock_job(session, job, fence)
    row.requested = "cancel"
    await job_status.end_attempt(session, row, reason="asked")
