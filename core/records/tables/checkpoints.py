"""Checkpoints and their files."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, select, text
from sqlalchemy.orm import Mapped, column_property, mapped_column

from core.records.tables.base import Base, Now
from core.records.tables.jobs import JobRow


class CheckpointRow(Base):
    """A checkpoint that a job delivered."""

    __tablename__ = "checkpoints"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    model: Mapped[str] = mapped_column(String(96))
    method: Mapped[str] = mapped_column(String(64))
    step: Mapped[int] = mapped_column(Integer)
    """Updates after which it was saved."""
    size: Mapped[int] = mapped_column("bytes", BigInteger)
    """Bytes of all files."""
    digest: Mapped[str] = mapped_column(String(64))
    """sha256 of the canonical JSON of the manifest."""
    prefix: Mapped[str] = mapped_column(Text)
    """Where the files are in the storage. Jobs that shared a run have one checkpoint each, all with the same files."""
    verdict: Mapped[str | None] = mapped_column(String(16))
    """On the job's policy."""
    released: Mapped[bool]
    """Whether it may be downloaded; false: it waits for a person."""
    released_by: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))
    """The API key that accepted it; null: it needed no release, or has none yet."""
    released_at: Mapped[datetime | None]
    release_reason: Mapped[str | None] = mapped_column(Text)
    """Why it may be used although it missed its policy."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)

    __table_args__ = (
        Index("ix_checkpoints_organisation_id", "organisation", "id"),
        Index("ix_checkpoints_prefix", "prefix"),
        Index("ix_checkpoints_commit", "organisation", text("left(digest, 40)")),
        Index("ix_checkpoints_organisation_model_id", "organisation", "model", "id"),
        Index("ix_checkpoints_waiting", "id", postgresql_where=text("NOT released")),
    )


JobRow.released = column_property(
    select(CheckpointRow.released).where(CheckpointRow.id == JobRow.checkpoint).scalar_subquery()
)
"""Whether the job's checkpoint is released; None while there is none. Not stored with the job: selected with it."""


class CheckpointFile(Base):
    """One file of a checkpoint's manifest."""

    __tablename__ = "checkpoint_files"

    checkpoint: Mapped[str] = mapped_column(ForeignKey("checkpoints.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(Text, primary_key=True)
    """Relative to the checkpoint's prefix."""
    size: Mapped[int] = mapped_column("bytes", BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
