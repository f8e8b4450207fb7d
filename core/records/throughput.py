"""Costs of earlier jobs, for estimates of the next."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import EventRow, JobRow, ModelRow
from core.schema.event_types import EventType

LATEST = 20


async def recent_costs(
    session: AsyncSession, organisation: str, *, gpus: int
) -> Sequence[tuple[str, dict[str, Any] | None, dict[str, Any] | None, dict[str, Any]]]:
    """(model, its shape, the job's estimate, its cost) of the organisation's latest succeeded jobs on so many GPUs,
    including jobs that only measured."""
    latest = (
        select(JobRow.id, JobRow.model, JobRow.estimate)
        .where(
            JobRow.organisation == organisation,
            JobRow.status == "succeeded",
            JobRow.gpus == gpus,
        )
        .order_by(JobRow.id.desc())
        .limit(LATEST)
        .subquery()
    )
    query = (
        select(latest.c.model, ModelRow.shape, latest.c.estimate, EventRow.data)
        .join(EventRow, (EventRow.job == latest.c.id) & (EventRow.type == EventType.COST))
        .join(ModelRow, (ModelRow.organisation == organisation) & (ModelRow.id == latest.c.model))
    )
    return [(model, shape, estimate, cost) for model, shape, estimate, cost in (await session.execute(query)).all()]
