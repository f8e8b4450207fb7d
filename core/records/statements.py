"""Statements about jobs: requested in the transaction that changes what they say, made by the signer, and read."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.records.clock import seconds_from_now
from core.records.tables import JobFile, JobRow, SigningKeyRow, SigningRequestRow, StatementRow


@dataclass(frozen=True)
class TakenJob:
    """A job that a signer has taken, with the ids of its requests."""

    job: str
    organisation: str
    requests: tuple[int, ...]
    tries: int
    """This try included."""
    pause: float
    """Seconds until the next try, if this one fails."""


@dataclass(frozen=True)
class NextTry:
    """When the signer tries a job's statement again, after so many tries that failed."""

    tries: int
    at: datetime


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


async def take_next(session: AsyncSession, *, pauses: Sequence[float]) -> TakenJob | None:
    """Takes the job that has waited longest for its next try. None: no job is due.

    Its requests stay, postponed by the pause after this try (the last of `pauses` for every later try): if the signer
    dies over the job, other jobs come first, and the job's turn comes again. `complete` deletes them.
    """
    due = select(SigningRequestRow).where(SigningRequestRow.next_try_at <= func.statement_timestamp())
    due = due.order_by(SigningRequestRow.next_try_at, SigningRequestRow.id).limit(1)
    first = await session.scalar(due.with_for_update(skip_locked=True))
    if first is None:
        return None
    same_job = select(SigningRequestRow).where(SigningRequestRow.job == first.job)
    requests = (await session.scalars(same_job.with_for_update(skip_locked=True))).all()
    tries = max(row.tries for row in requests) + 1
    pause = pauses[min(tries, len(pauses)) - 1]
    for row in requests:
        row.tries, row.next_try_at = tries, seconds_from_now(pause)
    organisation = await session.scalar(select(JobRow.organisation).where(JobRow.id == first.job))
    return TakenJob(first.job, str(organisation), tuple(row.id for row in requests), tries=tries, pause=pause)


async def complete(session: AsyncSession, taken: TakenJob) -> bool:
    """Deletes the requests that were taken; no other signer writes a statement about the job until this commits.

    False: another signer has answered them.
    """
    # whoever waits here assembles its report later, so that an older report never takes a newer one's place
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"statement {taken.job}", 0))))
    answered = delete(SigningRequestRow).where(SigningRequestRow.id.in_(taken.requests))
    return bool((await session.scalars(answered.returning(SigningRequestRow.id))).all())


async def give_back(session: AsyncSession, taken: TakenJob) -> None:
    """Undoes `take_next` after an outage: the try does not count, and the job is due again, behind those due by now.

    A request that another signer has taken since, or answered, is left as it is.
    """
    same = SigningRequestRow.id.in_(taken.requests), SigningRequestRow.tries == taken.tries
    values = {"tries": taken.tries - 1, "next_try_at": func.clock_timestamp()}
    await session.execute(update(SigningRequestRow).where(*same).values(values))


async def next_try(session: AsyncSession, job: str) -> NextTry | None:
    """The next try at a statement that failed. None: the signer has not tried it twice."""
    query = select(func.max(SigningRequestRow.tries), func.min(SigningRequestRow.next_try_at))
    tries, at = (await session.execute(query.where(SigningRequestRow.job == job))).one()
    return NextTry(tries=tries, at=at) if tries and tries > 1 else None


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
