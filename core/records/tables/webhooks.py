"""Messages to webhooks, and the attempts to deliver them."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from core.records.tables.base import Base, Now


class WebhookDeliveryRow(Base):
    """A message to a job's webhook: written in the transaction that ends the job, kept after its delivery."""

    __tablename__ = "webhook_deliveries"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(32))
    """The message's type (core.schema.webhooks.MessageType)."""
    url: Mapped[str] = mapped_column(Text)
    sealed_secret: Mapped[bytes]
    """The key of the message's signatures, encrypted, as the job has it."""
    data: Mapped[dict[str, Any]]
    """The message's data (core.schema.webhooks.WebhookMessageData), the same in every attempt."""
    status: Mapped[str] = mapped_column(String(16), server_default=text("'pending'"))
    """`pending`, `delivered` or `failed`."""
    tries: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Attempts since the message was written, or since a person had it delivered again."""
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'::jsonb"))
    """The newest attempts, oldest first (core.schema.webhooks.DeliveryAttempt)."""
    next_attempt_at: Mapped[datetime | None] = mapped_column(server_default=Now)
    """When the message may be sent next; a sender that takes it moves this on. Null: it is not pending."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    delivered_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
        CheckConstraint("(status = 'pending') = (next_attempt_at IS NOT NULL)", name="next_attempt"),
        Index("ix_webhook_deliveries_organisation_id", "organisation", "id"),
        Index("ix_webhook_deliveries_organisation_status_id", "organisation", "status", "id"),
        Index("ix_webhook_deliveries_job_id", "job", "id"),
        Index("ix_webhook_deliveries_pending", "next_attempt_at", "id", postgresql_where=text("status = 'pending'")),
    )
