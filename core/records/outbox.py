"""Hints on their way to the broker: at least once, in the order they were written."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import OutboxRow

Publish = Callable[[str, dict[str, Any]], Awaitable[None]]


async def add(session: AsyncSession, topic: str, payload: dict[str, Any]) -> None:
    await session.execute(insert(OutboxRow).values(topic=topic, payload=payload))


async def relay(session: AsyncSession, publish: Publish, *, limit: int = 100) -> int:
    """Publishes up to `limit` rows and deletes them; returns how many. Two relays share the work and never a row.

    A publication that fails leaves its row: the caller's transaction is rolled back by the exception.
    """
    rows = await session.scalars(
        select(OutboxRow).order_by(OutboxRow.id).limit(limit).with_for_update(skip_locked=True)
    )
    published = [row.id for row in rows.all() if await _sent(publish, row)]
    if published:
        await session.execute(delete(OutboxRow).where(OutboxRow.id.in_(published)))
    return len(published)


async def _sent(publish: Publish, row: OutboxRow) -> bool:
    await publish(row.topic, row.payload)
    return True
