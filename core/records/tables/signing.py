"""The signer's public keys, the jobs that wait for a statement, and what it signed."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from core.records.tables.base import Base, Now


class SigningKeyRow(Base):
    """A public key of the signer. The private key is in a file that only the signer reads."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The key's JWK thumbprint."""
    purpose: Mapped[str] = mapped_column(String(16))
    """`evidence` or `model` (core.schema.signing_keys.Purpose)."""
    public_key: Mapped[str] = mapped_column(Text)
    """SubjectPublicKeyInfo in PEM."""
    not_before: Mapped[datetime] = mapped_column(server_default=Now)
    not_after: Mapped[datetime | None]
    """Until when it signed; null: it signs now."""
    revoked_at: Mapped[datetime | None]
    """Since when none of its signatures count; null: it is not revoked."""
    revocation_reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index("uq_signing_keys_active", "purpose", unique=True, postgresql_where=text("not_after IS NULL")),
    )


class SignedHeadRow(Base):
    """A signed head of an organisation's audit log."""

    __tablename__ = "signed_heads"

    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """The number of the entry that was the newest."""
    key: Mapped[str] = mapped_column(ForeignKey("signing_keys.id"), primary_key=True)
    envelope: Mapped[dict[str, Any]]
    """The DSSE envelope (core.evidence.signed_head)."""
    signed_at: Mapped[datetime]


class SigningRequestRow(Base):
    """A job that waits for a statement: written in the transaction that changes what the statement says."""

    __tablename__ = "signing_requests"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    tries: Mapped[int] = mapped_column(server_default="0")
    """Attempts of the signer to make the statement, the present one included."""
    next_try_at: Mapped[datetime] = mapped_column(server_default=Now)
    """The signer leaves the job alone until then."""

    __table_args__ = (
        Index("ix_signing_requests_next_try", "next_try_at", "id"),
        Index("ix_signing_requests_job", "job"),
    )


class StatementRow(Base):
    """What the signer has signed about a job. Another statement takes its place when the report changes."""

    __tablename__ = "statements"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(ForeignKey("signing_keys.id"))
    """The key of the statement."""
    envelope: Mapped[dict[str, Any]]
    """The statement as a DSSE envelope (core.evidence.statement)."""
    model_key: Mapped[str] = mapped_column(ForeignKey("signing_keys.id"))
    """The key of the model's signature."""
    model_signature: Mapped[dict[str, Any]]
    """The model's signature in the format of OpenSSF model-signing (core.evidence.model_signature)."""
    signed_at: Mapped[datetime]

    __table_args__ = (Index("ix_statements_job", "job", "id"),)
