"""A job's events, numbered under the job's row lock: a reader who follows `seq` never misses an event."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import EventRow, JobRow
from core.schema.event_types import EventType, check_event

CHANNEL = "unlearn_jobs"
"""NOTIFY channel for the API; the payload is the id of a job that changed."""

REQUESTS = "unlearn_requests"
"""NOTIFY channel for workers; the payload is the id of a running job that is asked to pause or to stop."""


async def announce(session: AsyncSession, job: JobRow) -> None:
    """Raises the job's version and, on commit, wakes its listeners. The caller holds the row's lock."""
    job.version += 1
    await session.execute(text("SELECT pg_notify(:channel, :job)"), {"channel": CHANNEL, "job": job.id})


async def append(session: AsyncSession, job: JobRow, type: EventType, data: dict[str, Any] | None = None) -> int:
    """Appends an event and returns its `seq`. The caller holds the row's lock; `data` never holds a record's text.

    UndocumentedEvent: the catalogue does not describe the event's data.
    """
    data = data or {}
    check_event(type, data)
    job.event_seq += 1
    await session.execute(insert(EventRow).values(job=job.id, seq=job.event_seq, type=type, data=data))
    await announce(session, job)
    return job.event_seq


async def request(session: AsyncSession, job: JobRow, type: EventType) -> int:
    """Appends the event of a request to a running job, as `append` does, and wakes the job's worker."""
    seq = await append(session, job, type)
    await session.execute(text("SELECT pg_notify(:channel, :job)"), {"channel": REQUESTS, "job": job.id})
    return seq


async def after(session: AsyncSession, job: str, seq: int, limit: int) -> Sequence[EventRow]:
    """The job's events after `seq`, oldest first."""
    query = select(EventRow).where(EventRow.job == job, EventRow.seq > seq).order_by(EventRow.seq).limit(limit)
    return (await session.scalars(query)).all()


async def newest(session: AsyncSession, job: str, type: EventType) -> EventRow | None:
    """The job's newest event of this type."""
    query = select(EventRow).where(EventRow.job == job, EventRow.type == type).order_by(EventRow.seq.desc())
    return await session.scalar(query.limit(1))


async def latest(session: AsyncSession, job: str, before: int | None, limit: int) -> Sequence[EventRow]:
    """The job's newest events (before `before`, where given), newest first."""
    query = select(EventRow).where(EventRow.job == job)
    if before is not None:
        query = query.where(EventRow.seq < before)
    return (await session.scalars(query.order_by(EventRow.seq.desc()).limit(limit))).all()
