"""Uploaded files, policies, and registered models."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.records.tables.base import Base, Now


class FileRow(Base):
    """An uploaded file; the storage holds its bytes, sealed."""

    __tablename__ = "files"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    purpose: Mapped[str] = mapped_column(String(16))
    """What the file may be used for, such as `forget` or `retain` (core.schema.files.Purpose)."""
    filename: Mapped[str] = mapped_column(String(256))
    format: Mapped[str] = mapped_column(String(16))
    size: Mapped[int] = mapped_column("bytes", BigInteger)
    """Bytes as they were sent, before sealing."""
    sha256: Mapped[str] = mapped_column(String(64))
    """Hex digest of the bytes as they were sent."""
    records: Mapped[int] = mapped_column(Integer)
    understood: Mapped[dict[str, Any] | None]
    """How the file was read (core.schema.file_interpretation); null: uploaded before this was stored."""
    storage_key: Mapped[str] = mapped_column(Text)
    """Where the sealed bytes are in the storage."""
    wrapped_key: Mapped[bytes | None]
    """The file's data key, encrypted under the service key; null: the key store holds it (KEY_STORE_URL)."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    expires_at: Mapped[datetime | None]
    """When the sweeper deletes the file, unless an unfinished job or a model needs it; null: never."""

    __table_args__ = (Index("ix_files_organisation_id", "organisation", "id"),)


class PolicyRow(Base):
    """An operator's policy. The built-in `default` has no row."""

    __tablename__ = "policies"

    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    policy: Mapped[dict[str, Any]]
    """The policy as JSON (core.schema.policies.Policy)."""
    key: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    """The API key that added it."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class ModelRow(Base):
    """A registered model."""

    __tablename__ = "models"

    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(96), primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    """The directory, or `hf:org/name@revision`, as the registration names it."""
    directory: Mapped[str | None] = mapped_column(Text)
    """Where the files are; null until a fetch has ended."""
    revision: Mapped[str | None] = mapped_column(String(64))
    """The commit that a Hub repository was pinned to."""
    digest: Mapped[str | None] = mapped_column(String(64))
    """sha256 of the canonical JSON of {path, bytes, sha256} of all files."""
    dtype: Mapped[str] = mapped_column(String(16))
    """The dtype that checkpoints store weights in; `auto`: each weight's own."""
    status: Mapped[str] = mapped_column(String(16))
    """`fetching`, `ready` or `failed`."""
    error: Mapped[str | None] = mapped_column(Text)
    """Why the registration failed; null: it has not."""
    shape: Mapped[dict[str, Any] | None]
    """Sizes read from the files (core.schema.model_shape); null until they were read."""
    defaults: Mapped[dict[str, Any]]
    """Ids of files that jobs use where a request names none (core.schema.models.Defaults)."""
    release: Mapped[str] = mapped_column(String(16))
    """Which checkpoints need no person's release: `on_pass` or `always`."""
    policy: Mapped[str | None] = mapped_column(String(64))
    """The name of the pinned policy; null: the built-in `default`."""
    head: Mapped[str | None] = mapped_column(String(64))
    """The newest released checkpoint, which jobs from `head` start from; null: the registered model itself."""
    training_tokens: Mapped[int | None] = mapped_column(BigInteger)
    """Tokens that the model was trained on, over all epochs; null: unknown."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)

    __table_args__ = (ForeignKeyConstraint(["organisation", "policy"], ["policies.organisation", "policies.name"]),)


class SampleKeyRow(Base):
    """The key of a registered model's rehearsal samples on one host, which lie in a folder of the row's id.

    Deleting the row makes the samples unreadable, on whichever host they are.
    """

    __tablename__ = "sample_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    organisation: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(96))
    wrapped_key: Mapped[bytes]
    """The key, encrypted under the service key."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)

    __table_args__ = (
        ForeignKeyConstraint(["organisation", "model"], ["models.organisation", "models.id"], ondelete="CASCADE"),
        Index("ix_sample_keys_organisation_model", "organisation", "model"),
    )
