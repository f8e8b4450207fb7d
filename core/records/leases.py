"""Who may work on a job: claimed by raising its fence, held by a lease, checked in every transaction of a worker.

Fences only ever rise. A worker whose fence is no longer the job's has lost it: a duplicate, a late worker or a second
finish change nothing.
"""

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql import ColumnElement

from core.records import job_status
from core.records.clock import seconds_from_now
from core.records.job_status import HeadBusy
from core.records.tables import JobRow, ModelRow


class FenceLost(Exception):
    """The job is somebody else's by now, or over: stop, and write nothing more."""


def claimable() -> ColumnElement[bool]:
    """Of a row of jobs: whether it may be claimed now.

    A job that starts from its model's head waits for the earlier ones that do, and for whichever runs: ids are made
    before they are committed, so a later one may have started already.
    """
    other = aliased(JobRow)
    ahead = exists().where(
        other.organisation == JobRow.organisation,
        other.model == JobRow.model,
        other.start == "head",
        ((other.id < JobRow.id) & other.status.in_(("queued", "paused"))) | (other.status == "running"),
    )
    due = and_(JobRow.status == "queued", JobRow.run_after <= func.clock_timestamp())
    return and_(due, or_(JobRow.start != "head", ~ahead))


async def claim(session: AsyncSession, *, worker: str, gpus: int, lease_seconds: float) -> JobRow | None:
    """Claims the oldest queued job that needs exactly `gpus` GPUs, or None where there is none to claim.

    Jobs that start from one model's head are claimed in the order of their ids and never two at a time; the head is
    pinned here.
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
        model = select(ModelRow.head).where(ModelRow.organisation == job.organisation, ModelRow.id == job.model)
        job.start_checkpoint = await session.scalar(model)
    try:
        await job_status.start(session, job, worker=worker, lease_seconds=lease_seconds)
    except HeadBusy:  # two claims met on one model's head: the index lets one through, the other finds nothing
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


async def renew(session: AsyncSession, job: str, fence: int, *, lease_seconds: float) -> str | None:
    """Prolongs the lease and returns what is wished of the job (`cancel`, `pause` or None)."""
    row = await lock_job(session, job, fence)
    row.lease_expires_at = seconds_from_now(lease_seconds)
    return row.requested


async def give_back(session: AsyncSession, job: str, fence: int, *, reason: str) -> str:
    """Back to the queue without blame, or paused or cancelled where that is wished; returns the status.

    A shutdown costs no attempt that counts as a failure.
    """
    row = await lock_job(session, job, fence)
    await job_status.end_attempt(session, row, reason=reason)
    return row.status


async def fail_or_retry(session: AsyncSession, row: JobRow, error: dict[str, object], *, max_failures: int) -> str:
    """A failed attempt: queued again while that may help and attempts are left, else `failed`. Returns the status."""
    row.failures += 1
    if error["retryable"] and row.failures < max_failures:
        delay_seconds = min(2.0**row.failures, 60.0)
        await job_status.end_attempt(session, row, reason=str(error["code"]), delay_seconds=delay_seconds)
        return row.status
    await job_status.fail(session, row, error)
    return row.status


async def confirm_cancel(session: AsyncSession, job: str, fence: int) -> None:
    """The worker has let go of a job that was to be cancelled."""
    row = await lock_job(session, job, fence)
    row.requested = "cancel"
    await job_status.end_attempt(session, row, reason="asked")
