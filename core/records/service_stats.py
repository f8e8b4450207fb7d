"""Counts of the service's unfinished work. Partial indexes answer them, however many jobs are over."""

from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.clock import seconds_ago
from core.records.tables import CheckpointRow, JobRow, OutboxRow, WorkerRow


@dataclass(frozen=True)
class ServiceStats:
    """`queued`, `running` and `paused` count jobs by status."""

    queued: int
    running: int
    paused: int
    waiting: int
    """Checkpoints that wait for a release."""
    outbox: int
    """Hints that the broker does not have yet."""
    workers: int
    """Workers whose last sign of life is fresh."""


async def read_service_stats(session: AsyncSession, *, stale_seconds: float) -> ServiceStats:
    """Counts now. A worker's sign of life is fresh for `stale_seconds`."""
    fresh = WorkerRow.seen_at > seconds_ago(stale_seconds)

    async def count(query: Select[int]) -> int:
        return await session.scalar(query) or 0

    return ServiceStats(
        queued=await count(select(func.count()).where(JobRow.status == "queued")),
        running=await count(select(func.count()).where(JobRow.status == "running")),
        paused=await count(select(func.count()).where(JobRow.status == "paused")),
        waiting=await count(select(func.count()).where(~CheckpointRow.released)),
        outbox=await count(select(func.count()).select_from(OutboxRow)),
        workers=await count(select(func.count()).where(fresh)),
    )
