"""The transactional outbox: hints for workers, published to the broker at least once, in the order of their writing."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import OutboxRow

Publish = Callable[[str, dict[str, Any]], Awaitable[None]]


async def add(session: AsyncSession, topic: str, payload: dict[str, Any]) -> None:
    await session.execute(insert(OutboxRow).values(topic=topic, payload=payload))


async def relay(session: AsyncSession, publish: Publish, *, limit: int = 100) -> int:
    """Publishes up to `limit` rows and deletes them; returns how many. Two relays at once never take the same row.

    A publication that fails leaves its row: the exception rolls the caller's transaction back.
    """
    rows = await session.scalars(
        select(OutboxRow).order_by(OutboxRow.id).limit(limit).with_for_update(skip_locked=True)
    )
    published = []
    for row in rows.all():
        await publish(row.topic, row.payload)
        published.append(row.id)
    if published:
        await session.execute(delete(OutboxRow).where(OutboxRow.id.in_(published)))
    return len(published)
