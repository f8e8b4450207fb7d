"""Workers that are up. Each writes a sign of life regularly; a worker whose last one is too old counts as down."""

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.clock import seconds_ago
from core.records.tables import WorkerRow


async def mark_up(session: AsyncSession, *, worker: str, slots: int, gpus: int) -> None:
    """Writes a worker's sign of life, with the jobs and GPUs that it can take."""
    row = insert(WorkerRow).values(id=worker, slots=slots, gpus=gpus)
    now = func.clock_timestamp()
    await session.execute(
        row.on_conflict_do_update(index_elements=["id"], set_={"slots": slots, "gpus": gpus, "seen_at": now})
    )


async def mark_stopped(session: AsyncSession, *, worker: str) -> None:
    """Counts the worker as down at once: it has stopped in good order."""
    await session.execute(update(WorkerRow).where(WorkerRow.id == worker).values(seen_at=func.to_timestamp(0)))


async def count_up(session: AsyncSession, *, gpus: int, stale_seconds: float) -> int:
    """Counts the workers that are up and can run a job of so many GPUs."""
    fresh = WorkerRow.seen_at > seconds_ago(stale_seconds)
    query = select(func.count()).select_from(WorkerRow).where(WorkerRow.gpus >= gpus, fresh)
    return await session.scalar(query) or 0


async def is_host_up(session: AsyncSession, host: str, *, within_seconds: float) -> bool:
    """Whether a worker of this host has given a sign of life in the last `within_seconds`, by the database's clock."""
    fresh = WorkerRow.seen_at > seconds_ago(within_seconds)
    return bool(
        await session.scalar(select(exists().where(WorkerRow.id.startswith(f"{host}:", autoescape=True), fresh)))
    )
