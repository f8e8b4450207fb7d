"""Statements about jobs: requested in the transaction that changes what they say, made by the signer, and read."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.records.tables import JobFile, JobRow, SigningKeyRow, SigningRequestRow, StatementRow


async def request(session: AsyncSession, job: str) -> None:
    """Asks the signer for a statement about the job as it is when this transaction commits."""
    await session.execute(insert(SigningRequestRow).values(job=job))


async def request_for_files(session: AsyncSession, files: Collection[str]) -> None:
    """Asks for new statements about the jobs that had to forget these files: their reports tell of the deletion."""
    jobs = (
        select(JobFile.job)
        .join(JobRow, JobRow.id == JobFile.job)
        .where(JobFile.file.in_(files), JobFile.name == "forget", JobRow.checkpoint.is_not(None))
        .distinct()
    )
    await session.execute(insert(SigningRequestRow).from_select(["job"], jobs))


async def request_again(session: AsyncSession, key: str) -> None:
    """Asks for new statements about the jobs whose newest statement was signed with this key."""
    later = aliased(StatementRow)
    newest = ~select(later.id).where(later.job == StatementRow.job, later.id > StatementRow.id).exists()
    signed = select(StatementRow.job).where(or_(StatementRow.key == key, StatementRow.model_key == key), newest)
    await session.execute(insert(SigningRequestRow).from_select(["job"], signed))


async def take_requests(session: AsyncSession, *, limit: int) -> Sequence[tuple[str, str]]:
    """Takes waiting requests, oldest first: each job once, with its organisation. They are gone when this commits."""
    query = select(SigningRequestRow).order_by(SigningRequestRow.id).limit(limit).with_for_update(skip_locked=True)
    requests = (await session.scalars(query)).all()
    await session.execute(delete(SigningRequestRow).where(SigningRequestRow.id.in_([row.id for row in requests])))
    ids = list(dict.fromkeys(row.job for row in requests))
    jobs = select(JobRow.id, JobRow.organisation).where(JobRow.id.in_(ids))
    return [(id, organisation) for id, organisation in (await session.execute(jobs)).all()]


async def replace(session: AsyncSession, statement: StatementRow) -> None:
    """Stores a job's statement in place of all before: these hold digests of texts that may be deleted by now."""
    await session.execute(delete(StatementRow).where(StatementRow.job == statement.job))
    session.add(statement)
    await session.flush()


async def newest(session: AsyncSession, job: str) -> StatementRow | None:
    """The newest statement about the job that was signed with keys that still count."""
    model_key = aliased(SigningKeyRow)
    query = (
        select(StatementRow)
        .join(SigningKeyRow, SigningKeyRow.id == StatementRow.key)
        .join(model_key, model_key.id == StatementRow.model_key)
        .where(StatementRow.job == job, SigningKeyRow.revoked_at.is_(None), model_key.revoked_at.is_(None))
    )
    return await session.scalar(query.order_by(StatementRow.id.desc()).limit(1))
