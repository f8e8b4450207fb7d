"""The tables behind `postgres://` storage: bytes in chunks, visible only when the last one is in.

One object is one upload: a key names at most one complete upload, and any number of unfinished ones beside it. So
nothing is ever half replaced, and what a crashed upload leaves is found by `complete = false`.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from core.records.tables import Base, Now


class StoredObject(Base):
    """One upload of an object. `bytes` and `touched_at` grow with it."""

    __tablename__ = "objects"
    __table_args__ = (
        Index("uq_objects_key", "key", unique=True, postgresql_where=text("complete")),
        Index("ix_objects_unfinished", "touched_at", postgresql_where=text("NOT complete")),
    )

    upload: Mapped[UUID] = mapped_column(primary_key=True)
    # "C", whatever the database's own collation is: what lies under a prefix must be one range of the index
    key: Mapped[str] = mapped_column(Text(collation="C"))
    bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    complete: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    touched_at: Mapped[datetime] = mapped_column(server_default=Now)


class ObjectChunk(Base):
    """A piece of an upload; all but the last are of one size (`core.storage.postgres.CHUNK`).

    The migration turns compression off (STORAGE EXTERNAL): weights and ciphertext do not compress, and of a value that
    is not compressed PostgreSQL reads a part without the rest."""

    __tablename__ = "object_chunks"

    upload: Mapped[UUID] = mapped_column(ForeignKey("objects.upload", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)
