"""Which checkpoints may be had, and which one later jobs on a model start from."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import audit, events
from core.records.tables import CheckpointRow, JobRow, ModelRow
from core.schema.errors import DomainError


class AlreadyReleased(DomainError):
    """The checkpoint is released already."""

    status, problem = 409, "already-released"
    detail = "the checkpoint is released already"


class OwnJob(DomainError):
    """The key that submitted the job may not release its checkpoint: a release takes a second person."""

    status, problem = 403, "own-job"
    detail = "the job was submitted with this very key: a second person, with another key, must accept it"


async def lock_model(session: AsyncSession, job: JobRow) -> ModelRow | None:
    """The registration that the job was made for, locked; None where it was deleted, even if its name was taken since.

    The caller holds the job's row.
    """
    query = select(ModelRow).where(ModelRow.organisation == job.organisation, ModelRow.id == job.model)
    return await session.scalar(query.where(ModelRow.created_at <= job.created_at).with_for_update())


async def make_head(session: AsyncSession, job: JobRow, model: ModelRow | None, checkpoint: CheckpointRow) -> bool:
    """Makes a released checkpoint its model's head, where that is its place; returns whether it did.

    It is where its job started from the head and made a whole model, unless a newer one is the head already. The caller
    holds the rows of job and model.
    """
    # an adapter alone is nothing that a job could start from: the head stays what it was
    if model is None or job.start != "head" or job.output == "adapter":
        return False
    if model.head is not None:
        made = await session.scalar(select(CheckpointRow.created_at).where(CheckpointRow.id == model.head))
        if made is not None and made > checkpoint.created_at:
            return False
        if model.head != job.start_checkpoint:
            await _warn_of(session, job, model.head)
    model.head = checkpoint.id
    return True


async def _warn_of(session: AsyncSession, job: JobRow, head: str) -> None:
    """Says that the head so far is no ancestor of the new one: it was released when this job had started already."""
    message = (
        f"{head}, the model's head until now, was released after this job had started: what it forgot may be in this"
        " checkpoint; submit that request again"
    )
    warning = {"code": "head_left_behind", "message": message}
    job.warnings = [*job.warnings, warning]
    await events.append(session, job, "warning", warning)


async def release(
    session: AsyncSession, organisation: str, checkpoint: str, *, key: str, reason: str
) -> CheckpointRow | None:
    """Accepts a checkpoint that missed its policy: from now on it may be had. None: no such checkpoint.

    Who did it and why goes on the audit log, the reason nowhere else that is read by many. AlreadyReleased; OwnJob,
    unless the model's checkpoints need nobody's release.
    """
    query = select(CheckpointRow).where(CheckpointRow.organisation == organisation, CheckpointRow.id == checkpoint)
    found = await session.scalar(query)
    if found is None:
        return None
    # the job's row before all others, as everywhere
    job = (await session.scalars(select(JobRow).where(JobRow.id == found.job).with_for_update())).one()
    row = (await session.scalars(query.with_for_update().execution_options(populate_existing=True))).one()
    # one that failed may be had already, where the model's checkpoints need no release, but is no head without this
    if row.released and (row.released_by is not None or row.verdict != "failed"):
        raise AlreadyReleased(checkpoint)
    model = await lock_model(session, job)
    if job.submitter == key and not (model is not None and model.release == "always"):
        raise OwnJob(job.id)
    row.released, row.released_by, row.release_reason = True, key, reason
    row.released_at = func.clock_timestamp()
    head = await make_head(session, job, model, row)
    await events.append(session, job, "released", {"checkpoint": row.id, "head": head})
    told = {"job": job.id, "digest": row.digest, "verdict": row.verdict, "head": head, "reason": reason}
    await audit.append(session, organisation, key, "checkpoint.released", row.id, told)
    await session.flush()
    await session.refresh(row)
    return row
