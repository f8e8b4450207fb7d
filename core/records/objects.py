"""The tables behind `postgres://` storage: objects in chunks, visible only when the last chunk is in.

One object is one upload: a key names at most one complete upload, and any number of unfinished ones beside it. So no
object is ever half replaced, and the rest of a crashed upload is found by `complete = false`.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from core.records.tables import Base, Now


class StoredObject(Base):
    """One upload of an object."""

    __tablename__ = "objects"
    __table_args__ = (
        Index("uq_objects_key", "key", unique=True, postgresql_where=text("complete")),
        Index("ix_objects_unfinished", "touched_at", postgresql_where=text("NOT complete")),
    )

    upload: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text(collation="C"))
    """The object's storage key. Collation "C", whatever the database's own: keys under a prefix must be one range of
    the index."""
    bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Bytes written so far."""
    complete: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether every chunk is in, so that the object is visible."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    touched_at: Mapped[datetime] = mapped_column(server_default=Now)
    """When the upload last wrote."""


class ObjectChunk(Base):
    """One chunk of an upload; all but the last have one size (`core.storage.postgres.CHUNK`).

    The migration turns compression off (STORAGE EXTERNAL): weights and ciphertext do not compress, and PostgreSQL can
    read a part of an uncompressed value without the rest."""

    __tablename__ = "object_chunks"

    upload: Mapped[UUID] = mapped_column(ForeignKey("objects.upload", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)
