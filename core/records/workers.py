"""Workers that are up. Each writes a sign of life regularly; a worker whose last one is too old counts as down."""

from typing import Any

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.clock import seconds_ago
from core.records.tables import WorkerRow
from core.schema.throughput import Place, Throughput, Throughputs

LATEST = 20


async def mark_up(
    session: AsyncSession, *, worker: str, slots: int, gpus: int, throughput: Throughputs | None = None
) -> None:
    """Writes a worker's sign of life, with the jobs and GPUs that it can take, and what it has measured of its devices.

    A restarted container may repeat an id: without a measurement of its own it keeps the one of the worker before."""
    values: dict[str, Any] = {"slots": slots, "gpus": gpus}
    if throughput is not None:
        values["throughput"] = throughput.model_dump(mode="json")
    row = insert(WorkerRow).values(id=worker, **values)
    await session.execute(
        row.on_conflict_do_update(index_elements=["id"], set_={**values, "seen_at": func.clock_timestamp()})
    )


async def mark_stopped(session: AsyncSession, *, worker: str) -> None:
    """Counts the worker as down at once: it has stopped in good order."""
    await session.execute(update(WorkerRow).where(WorkerRow.id == worker).values(seen_at=func.to_timestamp(0)))


async def count_up(session: AsyncSession, *, gpus: int, stale_seconds: float) -> int:
    """Counts the workers that are up and can run a job of so many GPUs."""
    fresh = WorkerRow.seen_at > seconds_ago(stale_seconds)
    query = select(func.count()).select_from(WorkerRow).where(WorkerRow.gpus >= gpus, fresh)
    return await session.scalar(query) or 0


async def measured_throughputs(session: AsyncSession, *, gpus: int, stale_seconds: float) -> list[Throughput]:
    """Returns the throughput of one device of each worker that can run a job of so many GPUs and has measured it.

    Of the workers that are up; where none of these has measured, of the latest others.
    """
    place: Place = "gpu" if gpus else "cpu"
    fresh = WorkerRow.seen_at > seconds_ago(stale_seconds)
    query = (
        select(WorkerRow.throughput[place], fresh)
        .where(WorkerRow.gpus >= gpus, WorkerRow.throughput.has_key(place))
        .order_by(WorkerRow.seen_at.desc())
        .limit(LATEST)
    )
    rows = [(Throughput.model_validate(value), up) for value, up in (await session.execute(query)).all()]
    return [value for value, up in rows if up] or [value for value, _ in rows]


async def is_host_up(session: AsyncSession, host: str, *, within_seconds: float) -> bool:
    """Whether a worker of this host has given a sign of life in the last `within_seconds`, by the database's clock."""
    fresh = WorkerRow.seen_at > seconds_ago(within_seconds)
    return bool(
        await session.scalar(select(exists().where(WorkerRow.id.startswith(f"{host}:", autoescape=True), fresh)))
    )
