"""Jobs as the API sees them: created, read and listed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import bindparam, func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import ColumnElement

from core.records import events, job_status
from core.records.clock import seconds_ago, today
from core.records.tables import FileRow, JobFile, JobRow, WorkerRow
from core.schema.event_types import EventType
from core.schema.jobs import UNFULFILLED, Part


@dataclass(frozen=True)
class FileUse:
    """One file of a job, in the order of the request."""

    file: str
    name: str
    kind: str | None = None
    weight: float = 1.0
    part: Part | None = None


async def lock_files(session: AsyncSession, organisation: str, ids: Sequence[str]) -> dict[str, FileRow]:
    """The organisation's files of these ids, locked so that none is deleted before this transaction ends."""
    query = select(FileRow).where(FileRow.organisation == organisation, FileRow.id.in_(ids))
    rows = await session.scalars(query.with_for_update(read=True))
    return {row.id: row for row in rows}


async def create(session: AsyncSession, job: JobRow, files: Sequence[FileUse]) -> None:
    """Writes the job, its files, its first event and its outbox row; all or nothing, with the caller's transaction."""
    await job_status.submit(session, job, {"model": job.model, "method": job.method})
    for position, use in enumerate(files):
        row = {"job": job.id, "position": position, "file": use.file, "name": use.name}
        await session.execute(insert(JobFile).values(**row, kind=use.kind, weight=use.weight, part=use.part))
    for warning in job.warnings or []:
        await events.append(session, job, EventType.WARNING, warning)


async def get(session: AsyncSession, organisation: str, job: str) -> JobRow | None:
    return await session.scalar(select(JobRow).where(JobRow.organisation == organisation, JobRow.id == job))


async def version_and_status(session: AsyncSession, organisation: str, job: str) -> tuple[int, str] | None:
    """The job's version and status alone, for `ETag` and `?wait`."""
    query = select(JobRow.version, JobRow.status).where(JobRow.organisation == organisation, JobRow.id == job)
    row = (await session.execute(query)).one_or_none()
    return None if row is None else (row.version, row.status)


async def page(
    session: AsyncSession,
    organisation: str,
    *,
    limit: int,
    after: str | None = None,
    kind: str | None = None,
    status: str | None = None,
    model: str | None = None,
    method: str | None = None,
    external_reference: str | None = None,
    verdict: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    due_before: date | None = None,
    overdue: bool = False,
) -> Sequence[JobRow]:
    """Jobs newest first; ids are time-ordered, so the key of the page is the id.

    With `due_before` or `overdue` the soonest due come first, and the key of the page is the deadline with the id: an
    index holds each of the two orders, so a page costs the same however many jobs there are.
    Without a kind, all jobs but those that only measure: these have a list of their own.
    """
    listed = JobRow.kind != "measure" if kind is None else JobRow.kind == kind
    query = select(JobRow).where(JobRow.organisation == organisation, listed)
    equal = {
        "status": status,
        "model": model,
        "method": method,
        "external_reference": external_reference,
        "verdict": verdict,
    }
    for column, value in equal.items():
        if value is not None:
            query = query.where(getattr(JobRow, column) == value)
    if created_after is not None:
        query = query.where(JobRow.created_at >= created_after)
    if created_before is not None:
        query = query.where(JobRow.created_at < created_before)
    if overdue:
        query = query.where(unfulfilled(), JobRow.due < today())
    if due_before is not None:
        query = query.where(JobRow.due < due_before)
    if overdue or due_before is not None:
        if after is not None:
            due = select(JobRow.due).where(JobRow.organisation == organisation, JobRow.id == after)
            query = query.where(tuple_(JobRow.due, JobRow.id) > tuple_(await session.scalar(due), after))
        query = query.order_by(JobRow.due, JobRow.id)
    else:
        if after is not None:
            query = query.where(JobRow.id < after)
        query = query.order_by(JobRow.id.desc())
    return (await session.scalars(query.limit(limit))).all()


def unfulfilled() -> ColumnElement[bool]:
    """The condition that a job's deadline still counts, in the words of the partial index."""
    # literal values: PostgreSQL takes a partial index only where it knows them as it plans
    return JobRow.status.in_(bindparam("unfulfilled", UNFULFILLED, expanding=True, literal_execute=True))


async def waiting_for(session: AsyncSession, job: JobRow, *, stale_seconds: float) -> str | None:
    """Why a queued job has not started, in words for a person; None where it may start at any moment."""
    if job.status != "queued":
        return None
    fits = WorkerRow.gpus >= job.gpus
    fresh = WorkerRow.seen_at > seconds_ago(stale_seconds)
    if not await session.scalar(select(WorkerRow.id).where(fits, fresh).limit(1)):
        return "a worker" if job.gpus == 0 else f"a worker with {job.gpus} GPUs"
    ahead = select(JobRow.id).where(
        JobRow.organisation == job.organisation,
        JobRow.model == job.model,
        JobRow.start == "head",
        JobRow.id < job.id,
        JobRow.status.in_(("queued", "running", "paused")),
    )
    if job.start == "head" and (earlier := await session.scalar(ahead.order_by(JobRow.id).limit(1))):
        return f"job {earlier} on the same model"
    return "a free worker"


async def default_gpus(session: AsyncSession, *, stale_seconds: float) -> int:
    """The GPUs of a job whose request does not say: 1 where a worker that is up has a GPU, else 0."""
    fresh = WorkerRow.seen_at > seconds_ago(stale_seconds)
    return min(await session.scalar(select(func.max(WorkerRow.gpus)).where(fresh)) or 0, 1)
