"""Uploaded files' rows. Their bytes are the storage's; a file that a job still needs cannot go."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import FileRow, JobFile, JobRow, ModelRow
from core.schema.errors import DomainError, Identifier
from core.schema.jobs import TERMINAL
from core.schema.models import Defaults


class FileInUse(DomainError):
    """A job that is not over needs the file."""

    status, problem = 409, "in-use"

    def __init__(self, job: Identifier) -> None:
        self.detail = f"{job} needs the file: wait until it is over, or cancel it"
        super().__init__()


async def add(session: AsyncSession, file: FileRow, *, lifetime: timedelta) -> None:
    """Writes the row; `expires_at` is so long from now, by the database's clock."""
    file.expires_at = func.clock_timestamp() + lifetime
    session.add(file)
    await session.flush()
    await session.refresh(file)


async def extend_lifetime(
    session: AsyncSession, organisation: str, ids: Collection[str], *, lifetime: timedelta
) -> None:
    """Lets files that a request uses live for so long from their upload, where that is longer than they have.

    Before they are held for reading: of two requests that both hold a file, neither could change it.
    """
    until = FileRow.created_at + lifetime
    short = select(FileRow.id).where(
        FileRow.organisation == organisation, FileRow.id.in_(ids), FileRow.expires_at < until
    )
    held = (await session.scalars(short.order_by(FileRow.id).with_for_update())).all()
    if held:
        await session.execute(update(FileRow).where(FileRow.id.in_(held)).values(expires_at=until))


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


async def remove(session: AsyncSession, organisation: str, file: str) -> FileRow | None:
    """Deletes the row, and with it the wrapped key; the caller deletes the bytes after the commit. FileInUse: 409."""
    row = await session.scalar(
        select(FileRow).where(FileRow.organisation == organisation, FileRow.id == file).with_for_update()
    )
    if row is None:
        return None
    needed = (
        select(JobFile.job)
        .join(JobRow, JobRow.id == JobFile.job)
        .where(JobFile.file == file, JobRow.status.not_in(TERMINAL))
    )
    if job := await session.scalar(needed.limit(1)):
        raise FileInUse(job)
    await session.execute(delete(FileRow).where(FileRow.id == file))
    return row


async def list_for_job(session: AsyncSession, job: str) -> Sequence[tuple[JobFile, FileRow]]:
    """The files of a job in the order of its request."""
    query = select(JobFile, FileRow).join(FileRow, FileRow.id == JobFile.file).where(JobFile.job == job)
    return [(use, row) for use, row in (await session.execute(query.order_by(JobFile.position))).all()]


async def existing_ids(session: AsyncSession, ids: Sequence[str]) -> set[str]:
    """Those of the ids that have a row, of whatever organisation."""
    return set((await session.scalars(select(FileRow.id).where(FileRow.id.in_(ids)))).all())


async def any_missing(session: AsyncSession, job: str) -> bool:
    """Whether a file that the job names is gone."""
    query = select(JobFile.file).outerjoin(FileRow, FileRow.id == JobFile.file).where(JobFile.job == job)
    return await session.scalar(query.where(FileRow.id.is_(None)).limit(1)) is not None


async def purge_expired(session: AsyncSession, *, limit: int = 100) -> list[str]:
    """Deletes rows past their time that no unfinished job and no model (as a default) needs, and with them their keys.

    Returns their storage keys: the bytes are the caller's to delete, after the commit.
    """
    needed = select(JobFile.file).join(JobRow, JobRow.id == JobFile.job).where(JobRow.status.not_in(TERMINAL))
    default = exists().where(
        ModelRow.organisation == FileRow.organisation,
        or_(*(ModelRow.defaults[name].astext == FileRow.id for name in Defaults.model_fields)),
    )
    free = and_(FileRow.id.not_in(needed), ~default)
    expired = select(FileRow.id).where(FileRow.expires_at < func.clock_timestamp(), free)
    held = (await session.scalars(expired.limit(limit).with_for_update(skip_locked=True))).all()
    # asked again now that the rows are held: a job or a model may have been made since the first statement looked
    gone = delete(FileRow).where(FileRow.id.in_(held), free).returning(FileRow.storage_key)
    return list(await session.scalars(gone))
