"""Checkpoints and their files; curves and measurements of their jobs."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import CheckpointFile, CheckpointRow, CurveRow, MeasurementRow


async def get(session: AsyncSession, organisation: str, checkpoint: str) -> CheckpointRow | None:
    query = select(CheckpointRow).where(CheckpointRow.organisation == organisation, CheckpointRow.id == checkpoint)
    return await session.scalar(query)


async def list_for_job(session: AsyncSession, organisation: str, job: str) -> Sequence[CheckpointRow]:
    """The job's checkpoints, newest first."""
    query = select(CheckpointRow).where(CheckpointRow.organisation == organisation, CheckpointRow.job == job)
    return (await session.scalars(query.order_by(CheckpointRow.id.desc()))).all()


async def files(session: AsyncSession, checkpoint: str) -> Sequence[CheckpointFile]:
    """The files of the checkpoint's manifest, sorted by path."""
    query = select(CheckpointFile).where(CheckpointFile.checkpoint == checkpoint)
    return (await session.scalars(query.order_by(CheckpointFile.path.collate("C")))).all()


async def file(session: AsyncSession, checkpoint: str, path: str) -> CheckpointFile | None:
    return await session.get(CheckpointFile, (checkpoint, path))


async def curves(session: AsyncSession, job: str) -> Sequence[CurveRow]:
    """All points of the job's curves, by name and step."""
    query = select(CurveRow).where(CurveRow.job == job).order_by(CurveRow.name, CurveRow.step)
    return (await session.scalars(query)).all()


async def measurements(session: AsyncSession, job: str) -> Sequence[MeasurementRow]:
    return (await session.scalars(select(MeasurementRow).where(MeasurementRow.job == job))).all()
