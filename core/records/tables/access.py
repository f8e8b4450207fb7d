"""Organisations, their keys, the audit log, and the answers kept for repeated requests."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, func
from sqlalchemy.orm import Mapped, mapped_column

from core.records.tables.base import Base, Now


class Organisation(Base):
    __tablename__ = "organisations"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(96), unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class ApiKey(Base):
    """An API key of an organisation."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), index=True)
    name: Mapped[str] = mapped_column(String(96))
    prefix: Mapped[str] = mapped_column(String(16))
    """The key's first characters, by which a person may recognise it."""
    hash: Mapped[bytes] = mapped_column(unique=True)
    """HMAC-SHA256 of the key. The key itself is stored nowhere."""
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    """Since when the key is invalid; null: it was not revoked."""


class AuditRow(Base):
    """One entry of the audit log, never changed and never deleted: a trigger refuses both."""

    __tablename__ = "audit"

    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Numbered from 1 within the organisation, without gaps."""
    at: Mapped[datetime]
    key: Mapped[str | None] = mapped_column(String(64))
    """The API key that acted; null: the service itself."""
    action: Mapped[str] = mapped_column(String(64))
    """Such as `checkpoint.released`."""
    object: Mapped[str] = mapped_column(String(128))
    """Id or name of what it was done to."""
    details: Mapped[dict[str, Any]]
    """Facts of the action."""
    previous: Mapped[str] = mapped_column(String(64))
    """`hash` of the entry before; 64 zeros for the first."""
    hash: Mapped[str] = mapped_column(String(64))
    """sha256 over the entry, `previous` included (core.schema.audit.entry_hash)."""

    __table_args__ = (
        Index("ix_audit_object", "organisation", "object", "seq"),
        Index("ix_audit_key", "organisation", "key", "seq"),
        Index("ix_audit_at", "organisation", "at", "seq"),
    )


class IdempotencyKey(Base):
    """A key of a POST request, with the answer that is stored for a day. While `status` is null, the request is under
    way and holds the key by a lease."""

    __tablename__ = "idempotency_keys"

    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(256), primary_key=True)
    """sha256 of the API key's id and the client's key."""
    route: Mapped[str] = mapped_column(String(256))
    """Method and route of the first request."""
    body_digest: Mapped[bytes]
    """Digest of the first request's body: the same key with another body is refused."""
    token: Mapped[str] = mapped_column(String(64))
    """The request that holds the lease."""
    leased_until: Mapped[datetime]
    """Until when the request under way holds the key."""
    status: Mapped[int | None] = mapped_column(Integer)
    """The stored answer's HTTP status; null: none yet."""
    headers: Mapped[dict[str, str] | None]
    """The stored answer's headers; null: none yet."""
    body: Mapped[bytes | None]
    """The stored answer's body, encrypted."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
