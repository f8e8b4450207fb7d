"""Counts of the service's unfinished work. Partial indexes answer them, however many jobs are over."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import jobs
from core.records.clock import seconds_ago, today
from core.records.tables import CheckpointRow, JobRow, OutboxRow, SigningRequestRow, WebhookDeliveryRow, WorkerRow
from core.schema.deadlines import AT_RISK
from core.schema.jobs import UNFULFILLED


@dataclass(frozen=True)
class ServiceStats:
    """`queued`, `running` and `paused` count jobs by status."""

    queued: int
    running: int
    paused: int
    at_risk: Mapping[str, int]
    """Jobs that are due within a week, by status: those that have neither succeeded nor been cancelled."""
    overdue: Mapping[str, int]
    """The same, of jobs whose last day is over."""
    waiting: int
    """Checkpoints that wait for a release."""
    outbox: int
    """Hints that the broker does not have yet."""
    webhooks: int
    """Messages to webhooks that are not delivered yet."""
    unsigned: int
    """Jobs that wait for a statement."""
    unsignable: int
    """Jobs among them that were tried more than once."""
    workers: int
    """Workers whose last sign of life is fresh."""


async def read_service_stats(session: AsyncSession, *, stale_seconds: float) -> ServiceStats:
    """Counts now. A worker's sign of life is fresh for `stale_seconds`."""
    fresh = WorkerRow.seen_at > seconds_ago(stale_seconds)

    async def count(query: Select[int]) -> int:
        return await session.scalar(query) or 0

    late = JobRow.due < today()
    deadlines = select(JobRow.status, late, func.count()).where(
        jobs.unfulfilled(), JobRow.due <= today() + AT_RISK.days
    )
    at_risk: dict[str, int] = {status: 0 for status in UNFULFILLED}
    overdue = dict(at_risk)
    for status, is_late, number in (await session.execute(deadlines.group_by(JobRow.status, late))).all():
        (overdue if is_late else at_risk)[status] = number
    return ServiceStats(
        queued=await count(select(func.count()).where(JobRow.status == "queued")),
        running=await count(select(func.count()).where(JobRow.status == "running")),
        paused=await count(select(func.count()).where(JobRow.status == "paused")),
        at_risk=at_risk,
        overdue=overdue,
        waiting=await count(select(func.count()).where(~CheckpointRow.released)),
        outbox=await count(select(func.count()).select_from(OutboxRow)),
        webhooks=await count(select(func.count()).where(WebhookDeliveryRow.status == "pending")),
        unsigned=await count(select(func.count(SigningRequestRow.job.distinct()))),
        unsignable=await count(select(func.count(SigningRequestRow.job.distinct())).where(SigningRequestRow.tries > 1)),
        workers=await count(select(func.count()).where(fresh)),
    )
