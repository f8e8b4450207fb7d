"""The sweeper's queries: one sweeper at a time, jobs whose lease ran out, hints that may have been lost."""

from collections.abc import Sequence

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.job_status import end_attempt
from core.records.leases import claimable, fail_or_retry
from core.records.tables import JobRow

LOCK = 0x73776570  # any number that only this uses: "swep"


async def try_sweeper_lock(session: AsyncSession) -> bool:
    """Takes the sweeper's lock until the transaction ends; False where another sweeper holds it."""
    return bool(await session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": LOCK}))


async def recover_expired(session: AsyncSession, *, max_failures: int, limit: int = 100) -> list[str]:
    """Takes jobs whose lease ran out from their workers: each is queued again, paused or cancelled where that was
    requested, or failed where it has failed too often. Returns their ids."""
    expired = select(JobRow).where(JobRow.status == "running", JobRow.lease_expires_at < func.clock_timestamp())
    rows = (await session.scalars(expired.limit(limit).with_for_update(skip_locked=True))).all()
    for row in rows:
        if row.requested is not None:
            await end_attempt(session, row, reason="lease_expired")
            continue
        error: dict[str, object] = {
            "code": "worker_lost",
            "message": "the worker stopped answering; look at the host's memory and at the worker's log, then retry",
            "blame": "service",
            "retryable": True,
        }
        await fail_or_retry(session, row, error, max_failures=max_failures)
    return [row.id for row in rows]


async def claimable_gpu_counts(session: AsyncSession) -> Sequence[int]:
    """The GPU counts of queued jobs that could be claimed now: their hints may be lost, and are published again."""
    return (await session.scalars(select(JobRow.gpus).where(claimable()).distinct())).all()
