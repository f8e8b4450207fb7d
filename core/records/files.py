"""Rows of uploaded files. The storage holds their bytes. A file that an unfinished job needs cannot be deleted."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import audit, statements
from core.records.tables import FileRow, JobFile, JobRow, ModelRow
from core.schema.errors import DomainError, Identifier
from core.schema.jobs import TERMINAL
from core.schema.models import Defaults

Blind = Callable[[str], str]
"""Turns a digest into one that only the service can compute (`core.storage.file_keys.FileKeys.blind`)."""


class FileInUse(DomainError):
    """A job that is not over needs the file."""

    status, problem = 409, "in-use"

    def __init__(self, job: Identifier) -> None:
        self.detail = f"{job} needs the file: wait until it is over, or cancel it"
        super().__init__()


async def add(session: AsyncSession, file: FileRow, *, lifetime: timedelta, key: str | None = None) -> None:
    """Writes the row; it expires `lifetime` from now, by the database's clock.

    `key` is the API key that uploaded the file. None: the records came in a job's request, so the audit log holds the
    job's entry alone.
    """
    file.expires_at = func.clock_timestamp() + lifetime
    session.add(file)
    await session.flush()
    await session.refresh(file)
    if key is not None:
        await audit.append(session, file.organisation, key, "file.uploaded", file.id, _details(file))


async def extend_lifetime(
    session: AsyncSession, organisation: str, ids: Collection[str], *, lifetime: timedelta
) -> None:
    """Moves the files' expiry to `lifetime` after their upload, where that is later than it is now.

    Call this before `jobs.lock_files`: of two requests that hold a file's share lock, neither could change the row.
    """
    expiry = FileRow.created_at + lifetime
    query = select(FileRow.id).where(
        FileRow.organisation == organisation, FileRow.id.in_(ids), FileRow.expires_at < expiry
    )
    locked = (await session.scalars(query.order_by(FileRow.id).with_for_update())).all()
    if locked:
        await session.execute(update(FileRow).where(FileRow.id.in_(locked)).values(expires_at=expiry))


async def get(session: AsyncSession, organisation: str, file: str) -> FileRow | None:
    return await session.scalar(select(FileRow).where(FileRow.organisation == organisation, FileRow.id == file))


async def page(
    session: AsyncSession, organisation: str, *, limit: int, after: str | None = None, purpose: str | None = None
) -> Sequence[FileRow]:
    query = select(FileRow).where(FileRow.organisation == organisation)
    if after is not None:
        query = query.where(FileRow.id < after)
    if purpose is not None:
        query = query.where(FileRow.purpose == purpose)
    return (await session.scalars(query.order_by(FileRow.id.desc()).limit(limit))).all()


async def remove(
    session: AsyncSession, organisation: str, file: str, *, blind: Blind, key: str | None = None
) -> FileRow | None:
    """Deletes the row. The caller destroys the key and deletes the bytes after the commit.

    None: no such file. FileInUse: an unfinished job needs it.
    """
    jobs = await _lock_jobs(session, [file])
    row = await session.scalar(
        select(FileRow).where(FileRow.organisation == organisation, FileRow.id == file).with_for_update()
    )
    if row is None:
        return None
    unfinished = (
        select(JobFile.job)
        .join(JobRow, JobRow.id == JobFile.job)
        .where(JobFile.file == file, JobRow.status.not_in(TERMINAL))
    )
    if job := await session.scalar(unfinished.limit(1)):
        raise FileInUse(job)
    await session.execute(delete(FileRow).where(FileRow.id == file))
    _blind_digests(jobs, {file}, blind)
    await audit.append(session, organisation, key, "file.deleted", file, _details(row))
    await statements.request_for_files(session, [file])
    return row


async def list_for_job(session: AsyncSession, job: str) -> Sequence[tuple[JobFile, FileRow]]:
    """The files of a job in the order of its request."""
    query = select(JobFile, FileRow).join(FileRow, FileRow.id == JobFile.file).where(JobFile.job == job)
    return [(use, row) for use, row in (await session.execute(query.order_by(JobFile.position))).all()]


async def existing_ids(session: AsyncSession, ids: Sequence[str]) -> set[str]:
    """Returns those of the ids that have a row, in any organisation."""
    return set((await session.scalars(select(FileRow.id).where(FileRow.id.in_(ids)))).all())


async def count_records(session: AsyncSession, jobs: Collection[str], *, name: str) -> int:
    """The number of records in the jobs' files of this set, each job counted."""
    query = select(func.coalesce(func.sum(FileRow.records), 0)).join(JobFile, JobFile.file == FileRow.id)
    return int(await session.scalar(query.where(JobFile.job.in_(jobs), JobFile.name == name)) or 0)


async def any_missing(session: AsyncSession, job: str) -> bool:
    """Whether a file that the job names has been deleted."""
    query = select(JobFile.file).outerjoin(FileRow, FileRow.id == JobFile.file).where(JobFile.job == job)
    return await session.scalar(query.where(FileRow.id.is_(None)).limit(1)) is not None


async def purge_expired(session: AsyncSession, *, blind: Blind, limit: int = 100) -> list[str]:
    """Deletes expired rows that no unfinished job and no model (as a default) needs.

    Returns the files' ids: the caller destroys the keys and deletes the bytes after the commit.
    """
    needed = select(JobFile.file).join(JobRow, JobRow.id == JobFile.job).where(JobRow.status.not_in(TERMINAL))
    default = exists().where(
        ModelRow.organisation == FileRow.organisation,
        or_(*(ModelRow.defaults[name].astext == FileRow.id for name in Defaults.model_fields)),
    )
    unused = and_(FileRow.id.not_in(needed), ~default)
    expired = select(FileRow.id).where(FileRow.expires_at < func.clock_timestamp(), unused)
    ids = (await session.scalars(expired.limit(limit))).all()
    jobs = await _lock_jobs(session, ids)
    locked = (await session.scalars(expired.where(FileRow.id.in_(ids)).with_for_update(skip_locked=True))).all()
    # `unused` is asked again under the lock: a job or a model may have been made since the first statement
    return await _purge(session, and_(FileRow.id.in_(locked), unused), jobs, blind)


async def purge_restored(session: AsyncSession, ids: Sequence[str], *, blind: Blind) -> list[str]:
    """Deletes those of the files that have a row again, whoever needs them; returns their ids, as `purge_expired`."""
    existing = await existing_ids(session, ids)
    jobs = await _lock_jobs(session, sorted(existing))
    return await _purge(session, FileRow.id.in_(existing), jobs, blind)


async def _purge(
    session: AsyncSession, condition: ColumnElement[bool], jobs: Sequence[JobRow], blind: Blind
) -> list[str]:
    purged = (await session.scalars(delete(FileRow).where(condition).returning(FileRow))).all()
    _blind_digests(jobs, {row.id for row in purged}, blind)
    for row in sorted(purged, key=lambda row: (row.organisation, row.id)):
        await audit.append(session, row.organisation, None, "file.purged", row.id, _details(row))
    await statements.request_for_files(session, [row.id for row in purged])
    return sorted(row.id for row in purged)


async def _lock_jobs(session: AsyncSession, ids: Sequence[str]) -> Sequence[JobRow]:
    """The jobs that use the files, locked. Every transaction locks jobs before files."""
    query = select(JobRow).where(JobRow.id.in_(select(JobFile.job).where(JobFile.file.in_(ids))))
    return (await session.scalars(query.order_by(JobRow.id).with_for_update())).all()


def _blind_digests(jobs: Sequence[JobRow], ids: set[str], blind: Blind) -> None:
    """Replaces the files' plain digests in the jobs: those of short texts could be guessed."""
    for job in jobs:
        job.data = [
            entry | {"sha256": None, "hmac_sha256": blind(entry["sha256"])}
            if entry["file"] in ids and entry.get("sha256")
            else entry
            for entry in job.data
        ]


async def held_keys(session: AsyncSession, *, limit: int) -> Sequence[tuple[str, bytes]]:
    """Files whose rows hold their wrapped keys, locked, with these keys."""
    query = select(FileRow.id, FileRow.wrapped_key).where(FileRow.wrapped_key.is_not(None))
    rows = (await session.execute(query.order_by(FileRow.id).limit(limit).with_for_update())).all()
    return [(file, wrapped) for file, wrapped in rows if wrapped is not None]


async def drop_held_keys(session: AsyncSession, ids: Sequence[str]) -> None:
    """Removes the wrapped keys from the rows."""
    await session.execute(update(FileRow).where(FileRow.id.in_(ids)).values(wrapped_key=None))


def _details(file: FileRow) -> audit.Details:
    """Facts of a file for the audit log. Not its name and not its digest: a short text can be guessed from them."""
    return {"purpose": file.purpose, "format": file.format, "bytes": file.size, "records": file.records}
