"""Releases: a person lets a checkpoint be downloaded, and it may become the head that later jobs start from."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import audit, events, shared_runs, statements
from core.records.tables import CheckpointRow, JobRow, ModelRow
from core.schema.errors import DomainError
from core.schema.event_types import EventType


class AlreadyReleased(DomainError):
    """The checkpoint is released already."""

    status, problem = 409, "already-released"
    detail = "the checkpoint is released already"


class OwnJob(DomainError):
    """The key that submitted the job, or one that shared its run, may not release the checkpoint: a release takes a
    second person."""

    status, problem = 403, "own-job"
    detail = "the job was submitted with this very key: a second person, with another key, must accept it"


async def lock_model(session: AsyncSession, job: JobRow) -> ModelRow | None:
    """The registration that the job was made for, locked; None where it was deleted, even if its id was taken since.

    The caller holds the job's row.
    """
    query = select(ModelRow).where(ModelRow.organisation == job.organisation, ModelRow.id == job.model)
    return await session.scalar(query.where(ModelRow.created_at <= job.created_at).with_for_update())


async def make_head(session: AsyncSession, job: JobRow, model: ModelRow | None, checkpoint: CheckpointRow) -> bool:
    """Makes a released checkpoint its model's head where it is eligible; returns whether it did.

    A checkpoint is eligible if its job started from the head and made a whole model, and the present head is not newer.
    The caller holds the rows of job and model.
    """
    # no job can start from an adapter alone
    if model is None or job.start != "head" or job.output == "adapter":
        return False
    if model.head is not None:
        head = await session.get(CheckpointRow, model.head)
        if head is not None and head.prefix == checkpoint.prefix:  # of a job that shared the run: the same files
            return True
        if head is not None and head.created_at > checkpoint.created_at:
            return False
        if model.head != job.start_checkpoint:
            await _warn_head_left_behind(session, job, model.head)
    model.head = checkpoint.id
    return True


async def _warn_head_left_behind(session: AsyncSession, job: JobRow, head: str) -> None:
    """Warns that the present head is no ancestor of the new one: it was released after this job had started."""
    message = (
        f"{head}, the model's head until now, was released after this job had started: what it forgot may be in this"
        " checkpoint; submit that request again"
    )
    warning = {"code": "head_left_behind", "message": message}
    job.warnings = [*job.warnings, warning]
    await events.append(session, job, EventType.WARNING, warning)


async def release(
    session: AsyncSession, organisation: str, checkpoint: str, *, key: str, reason: str
) -> CheckpointRow | None:
    """Accepts a checkpoint that missed its policy: from now on it may be downloaded. None: no such checkpoint.

    Key and reason go on the audit log; the reason goes nowhere else that many people read. AlreadyReleased; OwnJob,
    unless the model's checkpoints need no release.
    """
    query = select(CheckpointRow).where(CheckpointRow.organisation == organisation, CheckpointRow.id == checkpoint)
    unlocked = await session.scalar(query)
    if unlocked is None:
        return None
    # every transaction locks the job's row first
    job = (await session.scalars(select(JobRow).where(JobRow.id == unlocked.job).with_for_update())).one()
    row = (await session.scalars(query.with_for_update().execution_options(populate_existing=True))).one()
    # a failed checkpoint of a model that needs no release is released already, but becomes a head only by this release
    if row.released and (row.released_by is not None or row.verdict != "failed"):
        raise AlreadyReleased(checkpoint)
    model = await lock_model(session, job)
    submitters = {job.submitter, *(other.submitter for other in await shared_runs.others(session, job))}
    if key in submitters and not (model is not None and model.release == "always"):
        raise OwnJob(job.id)
    row.released, row.released_by, row.release_reason = True, key, reason
    row.released_at = func.clock_timestamp()
    head = await make_head(session, job, model, row)
    await events.append(session, job, EventType.RELEASED, {"checkpoint": row.id, "head": head})
    details = {"job": job.id, "digest": row.digest, "verdict": row.verdict, "head": head, "reason": reason}
    await audit.append(session, organisation, key, "checkpoint.released", row.id, details)
    await statements.request(session, job.id)
    await session.flush()
    await session.refresh(row)
    return row
