"""Webhook deliveries: written as a job ends, taken by senders, ended or tried again later, listed, delivered again.

A sender takes a delivery by moving its next attempt on: if the sender dies, that attempt makes up for it. So a message
arrives at least once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.clock import seconds_from_now
from core.records.tables import JobRow, WebhookDeliveryRow
from core.schema.ids import new_id
from core.schema.webhooks import DeliveryAttempt, WebhookMessageData

KEPT_ATTEMPTS = 50


@dataclass(frozen=True)
class TakenDelivery:
    """A message that a sender has taken."""

    id: str
    job: str
    type: str
    created_at: datetime
    data: dict[str, Any]
    url: str
    sealed_secret: bytes


async def add(session: AsyncSession, job: JobRow) -> None:
    """Writes the message that the job has ended, where the job has a webhook. It commits with the caller's change."""
    if job.webhook_url is None or job.webhook_secret is None:
        return
    url = f"/v1/jobs/{job.id}"
    data = WebhookMessageData.model_validate(
        {
            "id": job.id,
            "status": job.status,
            "outcome": job.outcome,
            "verdict": job.verdict,
            "external_reference": job.external_reference,
            "links": {"self": url, "events": f"{url}/events", "metrics": f"{url}/metrics"},
        }
    )
    await session.execute(
        insert(WebhookDeliveryRow).values(
            id=new_id("delivery"),
            organisation=job.organisation,
            job=job.id,
            type=f"job.{job.status}",
            url=job.webhook_url,
            sealed_secret=job.webhook_secret,
            data=data.model_dump(mode="json"),
        )
    )


async def take_due(session: AsyncSession, *, limit: int, lease_seconds: float) -> list[TakenDelivery]:
    """Takes up to `limit` messages whose attempt is due. No other sender takes them for `lease_seconds`."""
    due = (
        select(WebhookDeliveryRow)
        .where(WebhookDeliveryRow.status == "pending")
        .where(WebhookDeliveryRow.next_attempt_at <= func.statement_timestamp())
        .order_by(WebhookDeliveryRow.next_attempt_at, WebhookDeliveryRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    names = ("id", "job", "type", "created_at", "data", "url", "sealed_secret")
    taken = []
    for row in (await session.scalars(due)).all():
        row.next_attempt_at = seconds_from_now(lease_seconds)
        taken.append(TakenDelivery(**{name: getattr(row, name) for name in names}))
    return taken


async def record_attempt(
    session: AsyncSession, delivery: str, attempt: DeliveryAttempt, *, pauses: Sequence[float], final: bool = False
) -> None:
    """Records an attempt: the message is delivered, tried again after the next of the `pauses`, or has failed.

    `final`: a failed attempt is the last. A message that another sender has delivered stays delivered.
    """
    query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.id == delivery).with_for_update()
    delivery_row = await session.scalar(query)
    if delivery_row is None:
        return
    delivery_row.tries += 1
    delivery_row.attempts = [*delivery_row.attempts, attempt.model_dump(mode="json")][-KEPT_ATTEMPTS:]
    if attempt.error is None:
        delivery_row.status, delivery_row.next_attempt_at = "delivered", None
        delivery_row.delivered_at = delivery_row.delivered_at or attempt.at
    elif delivery_row.status == "pending":
        if final or delivery_row.tries > len(pauses):
            delivery_row.status, delivery_row.next_attempt_at = "failed", None
        else:
            delivery_row.next_attempt_at = seconds_from_now(pauses[delivery_row.tries - 1])


async def get(session: AsyncSession, organisation: str, delivery: str) -> WebhookDeliveryRow | None:
    query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.organisation == organisation)
    return await session.scalar(query.where(WebhookDeliveryRow.id == delivery))


async def page(
    session: AsyncSession,
    organisation: str,
    *,
    limit: int,
    after: str | None = None,
    job: str | None = None,
    status: str | None = None,
) -> Sequence[WebhookDeliveryRow]:
    """Deliveries newest first; ids are time-ordered, so the key of the page is the id."""
    query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.organisation == organisation)
    if after is not None:
        query = query.where(WebhookDeliveryRow.id < after)
    if job is not None:
        query = query.where(WebhookDeliveryRow.job == job)
    if status is not None:
        query = query.where(WebhookDeliveryRow.status == status)
    return (await session.scalars(query.order_by(WebhookDeliveryRow.id.desc()).limit(limit))).all()


async def redeliver(session: AsyncSession, organisation: str, delivery: str) -> WebhookDeliveryRow | None:
    """Has the message sent again at once, whether it was delivered or not, with all its attempts. None: no such one."""
    query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.organisation == organisation)
    delivery_row = await session.scalar(query.where(WebhookDeliveryRow.id == delivery).with_for_update())
    if delivery_row is None:
        return None
    delivery_row.status, delivery_row.tries, delivery_row.next_attempt_at = "pending", 0, func.clock_timestamp()
    await session.flush()
    await session.refresh(delivery_row)
    return delivery_row
