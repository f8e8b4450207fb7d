"""Keyed digests of the records that jobs made a model forget, which outlive the records' text."""

from collections.abc import Collection, Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import ForgottenRecordsRow


async def keep(session: AsyncSession, digests: Mapping[str, bytes]) -> None:
    """Keeps the digests of each job's forget set, which commit with the job's end."""
    session.add_all(ForgottenRecordsRow(job=job, digests=joined) for job, joined in digests.items())
    await session.flush()


async def of_jobs(session: AsyncSession, jobs: Collection[str]) -> dict[str, bytes]:
    """Returns the digests by job; a job from before digests were kept is left out."""
    query = select(ForgottenRecordsRow.job, ForgottenRecordsRow.digests).where(ForgottenRecordsRow.job.in_(jobs))
    return {job: digests for job, digests in (await session.execute(query)).all()}
