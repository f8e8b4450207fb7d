"""Requests that people make of a job after it was submitted: pause, resume, cancel, retry.

`key` is the API key of the person who asks, for the audit log.
"""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import audit, events, files, job_status, models
from core.records.tables import FileRow, JobFile, JobRow
from core.schema.errors import DomainError, Identifier, OwnWords
from core.schema.event_types import EventType


class NotAllowed(DomainError):
    """The job's state does not allow the requested action."""

    status, problem = 409, "wrong-state"

    def __init__(self, state: Identifier) -> None:
        self.detail = f"the job is {state}"
        super().__init__()


class DataGone(DomainError):
    """The job cannot be tried again: a model or a file that it needs was deleted."""

    status, problem = 409, "data-gone"

    def __init__(self, missing: OwnWords) -> None:
        self.detail = f"{missing} has been deleted: submit a new job with what it needs"
        super().__init__()


async def pause(session: AsyncSession, organisation: str, job: str, *, key: str | None = None) -> JobRow | None:
    """Pauses a queued job at once and asks a running one to pause. None: no such job. NotAllowed: it cannot pause."""
    row = await _locked(session, organisation, job)
    if row is None:
        return None
    if row.status == "running" and row.requested is None:
        row.requested = "pause"
        await _request(session, row, EventType.PAUSE_REQUESTED, key)
    elif job_status.PAUSE.is_allowed(row):
        await job_status.pause(session, row, key=key)
    elif not (row.status == "running" and row.requested == "pause"):
        raise NotAllowed("being cancelled" if row.requested == "cancel" else row.status)
    return await _refreshed(session, row)


async def resume(session: AsyncSession, organisation: str, job: str, *, key: str | None = None) -> JobRow | None:
    """Puts a paused job back into the queue, or withdraws the request to pause a running one.

    None: no such job. NotAllowed: it is not paused.
    """
    row = await _locked(session, organisation, job)
    if row is None:
        return None
    if row.status == "running" and row.requested == "pause":
        # its worker may have stopped already: then the job is queued instead of paused
        row.requested = None
        await _request(session, row, EventType.PAUSE_WITHDRAWN, key)
    elif job_status.RESUME.is_allowed(row):
        await job_status.resume(session, row, key=key)
    else:
        raise NotAllowed("being cancelled" if row.requested == "cancel" else row.status)
    return await _refreshed(session, row)


async def cancel(session: AsyncSession, organisation: str, job: str, *, key: str | None = None) -> JobRow | None:
    """Cancels a waiting or failed job at once and asks a running job to stop.

    None: no such job. NotAllowed: it has succeeded or is cancelled.
    """
    row = await _locked(session, organisation, job)
    if row is None:
        return None
    if row.status == "running":
        if row.requested != "cancel":
            row.requested = "cancel"
            await _request(session, row, EventType.CANCEL_REQUESTED, key)
        return row
    if not job_status.CANCEL.is_allowed(row):
        raise NotAllowed(row.status)
    await job_status.cancel(session, row, key=key)
    return await _refreshed(session, row)


async def retry(session: AsyncSession, organisation: str, job: str, *, key: str | None = None) -> JobRow | None:
    """Queues a failed job again, with as many attempts as a new job has; its earlier attempts stay in its events.

    None: no such job. NotAllowed: it has not failed. DataGone: a model or a file of it has been deleted.
    """
    row = await _locked(session, organisation, job)
    if row is None:
        return None
    if not job_status.RETRY.is_allowed(row):
        raise NotAllowed(row.status)
    if await models.get(session, organisation, row.model, lock=True) is None:
        raise DataGone("its model")
    if row.retrained_model and await models.get(session, organisation, row.retrained_model, lock=True) is None:
        raise DataGone("its retrained model")
    # locked, so that no file is deleted before the job is seen to need it again
    job_files = select(JobFile.file).where(JobFile.job == job)
    await session.execute(select(FileRow.id).where(FileRow.id.in_(job_files)).with_for_update(read=True))
    if await files.any_missing(session, job):
        raise DataGone("a file of it")
    await job_status.retry(session, row, key=key)
    return await _refreshed(session, row)


async def _locked(session: AsyncSession, organisation: str, job: str) -> JobRow | None:
    query = select(JobRow).where(JobRow.organisation == organisation, JobRow.id == job)
    return await session.scalar(query.with_for_update())


async def _request(session: AsyncSession, row: JobRow, type: EventType, key: str | None) -> None:
    """Asks the worker of a running job, and writes down who asked."""
    await events.request(session, row, type)
    await audit.append(session, row.organisation, key, f"job.{type}", row.id, {"status": row.status})


async def _refreshed(session: AsyncSession, row: JobRow) -> JobRow:
    await session.flush()
    await session.refresh(row)
    return row
