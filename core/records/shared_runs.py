"""Runs that several jobs share: the model is trained once to forget the text of all of them, and measured for each.

The job that is claimed leads the run. It takes other queued jobs with it, its companions: jobs of the same
organisation, model and `combine_key`. Each has a lease, a fence and an end of its own. `shared_run` is the leading
job's id on every job of the run, the leading one included. It stays after the end, and while the run waits for its next
attempt.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import job_status
from core.records.tables import JobRow

MOST_JOBS = 16


async def join(session: AsyncSession, lead: JobRow, *, former: str | None, worker: str, lease_seconds: float) -> None:
    """Starts the jobs that share the run of `lead`, which was just started.

    Where the job has shared a run before that was interrupted (`former`), the other jobs of that run are taken and no
    others, so that the run can go on from its snapshot; without any left, new ones are taken.
    """
    lead.shared_run = None
    if lead.combine_key is None:
        return
    waiting = select(JobRow).where(
        JobRow.organisation == lead.organisation,
        JobRow.model == lead.model,
        JobRow.combine_key == lead.combine_key,
        JobRow.status == "queued",
        JobRow.id != lead.id,
    )
    waiting = waiting.order_by(JobRow.id).limit(MOST_JOBS - 1).with_for_update(skip_locked=True)
    companions: Sequence[JobRow] = []
    if former is not None:
        companions = (await session.scalars(waiting.where(JobRow.shared_run == former))).all()
    if not companions:
        companions = (await session.scalars(waiting.where(JobRow.shared_run.is_(None)))).all()
    if not companions:
        return
    lead.shared_run = lead.id
    for companion in companions:
        companion.shared_run, companion.start_checkpoint = lead.id, lead.start_checkpoint
        await job_status.start(session, companion, worker=worker, lease_seconds=lease_seconds)


async def companions(session: AsyncSession, lead: JobRow) -> Sequence[JobRow]:
    """The other running jobs of the run that the job leads, in the order of their ids."""
    if lead.shared_run != lead.id:
        return []
    query = select(JobRow).where(JobRow.shared_run == lead.id, JobRow.id != lead.id, JobRow.status == "running")
    return (await session.scalars(query.order_by(JobRow.id))).all()


async def others(session: AsyncSession, job: JobRow) -> Sequence[JobRow]:
    """The other jobs of the run that made the job's checkpoint, in the order of their ids."""
    if job.shared_run is None or job.checkpoint is None:
        return []
    query = select(JobRow).where(
        JobRow.organisation == job.organisation,
        JobRow.shared_run == job.shared_run,
        JobRow.id != job.id,
        JobRow.checkpoint.is_not(None),
    )
    return (await session.scalars(query.order_by(JobRow.id))).all()
