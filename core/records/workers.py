"""Which workers are up, as their signs of life tell (core.records.leases.here_i_am)."""

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import WorkerRow


async def seen_on(session: AsyncSession, host: str, *, within_seconds: float) -> bool:
    """Whether a worker of this host has given a sign of life within so many seconds, by the database's clock."""
    fresh = WorkerRow.seen_at > func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, within_seconds)
    return bool(
        await session.scalar(select(exists().where(WorkerRow.id.startswith(f"{host}:", autoescape=True), fresh)))
    )
