"""Hints on their way to the broker, and the workers that are up."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from core.records.tables.base import Base, Now


class OutboxRow(Base):
    """A hint to publish: written in the transaction that makes the work, deleted when the broker has it."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    topic: Mapped[str] = mapped_column(String(64))
    """The queue's name."""
    payload: Mapped[dict[str, Any]]
    """The hint's content, which the queue's message carries."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class WorkerRow(Base):
    """A worker and the work that it takes. It counts as down when `seen_at` is old."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    """`host:pid`."""
    slots: Mapped[int] = mapped_column(Integer)
    """Jobs without GPUs that it runs at a time."""
    gpus: Mapped[int] = mapped_column(Integer)
    """GPUs that its jobs may use."""
    seen_at: Mapped[datetime] = mapped_column(server_default=Now)
    """Its last sign of life."""
    throughput: Mapped[dict[str, Any] | None]
    """What it has measured of its devices (`core.schema.throughput.Throughputs`); null: nothing yet."""
