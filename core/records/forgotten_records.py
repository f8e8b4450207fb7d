"""Keyed digests of the records that jobs made a model forget, which outlive the records' text."""

from collections.abc import Collection, Mapping

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import ForgottenRecordsRow


async def keep(session: AsyncSession, digests: Mapping[str, bytes], *, key_check: bytes) -> None:
    """Keeps the digests of each job's forget set, which commit with the job's end, and the check of their key."""
    session.add_all(
        ForgottenRecordsRow(job=job, digests=joined, key_check=key_check) for job, joined in digests.items()
    )
    await session.flush()


async def of_jobs(session: AsyncSession, jobs: Collection[str], *, key_check: bytes) -> dict[str, bytes]:
    """Returns the digests by job. A job without digests is left out, and so are digests under another service key."""
    query = select(ForgottenRecordsRow.job, ForgottenRecordsRow.digests).where(
        ForgottenRecordsRow.job.in_(jobs),
        or_(ForgottenRecordsRow.key_check == key_check, ForgottenRecordsRow.key_check.is_(None)),
    )
    return {job: digests for job, digests in (await session.execute(query)).all()}
