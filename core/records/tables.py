"""The tables. Postgres is the truth; what is not here did not happen."""

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

from core.schema.jobs import STATUSES

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[dict[str, Any]]: JSONB,
        dict[str, str]: JSONB,
        list[str]: ARRAY(String),
        bytes: LargeBinary,
        float: Double,
    }


Now = text("clock_timestamp()")


class Organisation(Base):
    __tablename__ = "organisations"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(96), unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class ApiKey(Base):
    """Only the HMAC of a key is stored; `prefix` is what a person may recognise it by."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), index=True)
    name: Mapped[str] = mapped_column(String(96))
    prefix: Mapped[str] = mapped_column(String(16))
    hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class FileRow(Base):
    """An uploaded file; its bytes lie sealed in the storage under `storage_key`."""

    __tablename__ = "files"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    purpose: Mapped[str] = mapped_column(String(16))
    filename: Mapped[str] = mapped_column(String(256))
    format: Mapped[str] = mapped_column(String(16))
    size: Mapped[int] = mapped_column("bytes", BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    records: Mapped[int] = mapped_column(Integer)
    understood: Mapped[dict[str, Any] | None]
    storage_key: Mapped[str] = mapped_column(Text)
    wrapped_key: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    expires_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_files_organisation_id", "organisation", "id"),)


class PolicyRow(Base):
    """An operator's policy, as data; the built-in `default` is none of these."""

    __tablename__ = "policies"

    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    policy: Mapped[dict[str, Any]]
    key: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class ModelRow(Base):
    """`policy` is the name of the one that is pinned; null: the built-in `default`."""

    __tablename__ = "models"

    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(96), primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    directory: Mapped[str | None] = mapped_column(Text)
    revision: Mapped[str | None] = mapped_column(String(64))
    digest: Mapped[str | None] = mapped_column(String(64))
    dtype: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    shape: Mapped[dict[str, Any] | None]
    defaults: Mapped[dict[str, Any]]
    release: Mapped[str] = mapped_column(String(16))
    policy: Mapped[str | None] = mapped_column(String(64))
    head: Mapped[str | None] = mapped_column(String(64))
    training_tokens: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=Now)

    __table_args__ = (ForeignKeyConstraint(["organisation", "policy"], ["policies.organisation", "policies.name"]),)


class JobRow(Base):
    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    submitter: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    kind: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    requested: Mapped[str | None] = mapped_column(String(16))
    phase: Mapped[str | None] = mapped_column(String(32))
    outcome: Mapped[str | None] = mapped_column(String(32))
    verdict: Mapped[str | None] = mapped_column(String(16))
    model: Mapped[str] = mapped_column(String(96))
    start: Mapped[str] = mapped_column(String(64))
    start_checkpoint: Mapped[str | None] = mapped_column(String(64))
    method: Mapped[str] = mapped_column(String(64))
    parameters: Mapped[dict[str, Any]]
    training: Mapped[dict[str, Any]]
    output: Mapped[str] = mapped_column(String(16), server_default=text("'full'"))
    data: Mapped[list[dict[str, Any]]]
    checkpoint: Mapped[str | None] = mapped_column(String(64))
    if TYPE_CHECKING:
        released: Mapped[bool | None]
    error: Mapped[dict[str, Any] | None]
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'::jsonb"))
    estimate: Mapped[dict[str, Any] | None]
    measure: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[\"standard\"]'::jsonb"))
    policy: Mapped[dict[str, Any] | None]
    judgement: Mapped[dict[str, Any] | None]
    retrained_model: Mapped[str | None] = mapped_column(String(96))
    preset: Mapped[str | None] = mapped_column(String(16))
    external_reference: Mapped[str | None] = mapped_column(String(256))
    due: Mapped[date | None]
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata", server_default=text("'{}'::jsonb"))

    gpus: Mapped[int] = mapped_column(Integer)
    step: Mapped[int | None] = mapped_column(Integer)
    steps: Mapped[int | None] = mapped_column(Integer)
    fraction: Mapped[float | None]
    """Of the whole job, all phases counted, as its process has said."""
    eta_seconds: Mapped[float | None]

    fence: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    worker: Mapped[str | None] = mapped_column(String(128))
    lease_expires_at: Mapped[datetime | None]
    run_after: Mapped[datetime] = mapped_column(server_default=Now)
    event_seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(repr(one) for one in STATUSES)})", name="status"),
        CheckConstraint("(status = 'running') = (lease_expires_at IS NOT NULL)", name="lease"),
        Index("ix_jobs_organisation_id", "organisation", "id"),
        Index("ix_jobs_organisation_model_id", "organisation", "model", "id"),
        Index("ix_jobs_organisation_status_id", "organisation", "status", "id"),
        Index("ix_jobs_measurements", "organisation", "id", postgresql_where=text("kind = 'measure'")),
        Index(
            "ix_jobs_retrained_model",
            "organisation",
            "retrained_model",
            postgresql_where=text("retrained_model IS NOT NULL"),
        ),
        Index("ix_jobs_queue", "gpus", "id", postgresql_where=text("status = 'queued'")),
        Index("ix_jobs_paused", "id", postgresql_where=text("status = 'paused'")),
        Index("ix_jobs_leases", "lease_expires_at", postgresql_where=text("status = 'running'")),
        # jobs that start from a model's head run one after the other, so that none brings an earlier one's text back
        Index(
            "uq_jobs_running_from_head",
            "organisation",
            "model",
            unique=True,
            postgresql_where=text("status = 'running' AND start = 'head'"),
        ),
    )


class JobFile(Base):
    """Which files a job needs: a file cannot be deleted while one of these jobs is not over."""

    __tablename__ = "job_files"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    file: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str | None] = mapped_column(String(32))
    weight: Mapped[float]
    part: Mapped[str | None] = mapped_column(String(16))


class EventRow(Base):
    __tablename__ = "events"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class CurveRow(Base):
    """One value of one step; a later attempt overwrites what an earlier one wrote for the same step."""

    __tablename__ = "curves"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    value: Mapped[float]


class MeasurementRow(Base):
    __tablename__ = "measurements"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    moment: Mapped[str] = mapped_column(String(16), primary_key=True)
    fence: Mapped[int] = mapped_column(Integer)
    measurements: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class CheckpointRow(Base):
    __tablename__ = "checkpoints"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    model: Mapped[str] = mapped_column(String(96))
    method: Mapped[str] = mapped_column(String(64))
    step: Mapped[int] = mapped_column(Integer)
    size: Mapped[int] = mapped_column("bytes", BigInteger)
    digest: Mapped[str] = mapped_column(String(64))
    prefix: Mapped[str] = mapped_column(Text)
    verdict: Mapped[str | None] = mapped_column(String(16))
    released: Mapped[bool]
    released_by: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))
    released_at: Mapped[datetime | None]
    release_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=Now)

    __table_args__ = (
        Index("ix_checkpoints_organisation_id", "organisation", "id"),
        Index("ix_checkpoints_waiting", "id", postgresql_where=text("NOT released")),
    )


JobRow.released = column_property(
    select(CheckpointRow.released).where(CheckpointRow.id == JobRow.checkpoint).scalar_subquery()
)
"""Whether the job's checkpoint may be had; None while there is none. Not stored with the job: read with it."""


class CheckpointFile(Base):
    __tablename__ = "checkpoint_files"

    checkpoint: Mapped[str] = mapped_column(ForeignKey("checkpoints.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(Text, primary_key=True)
    size: Mapped[int] = mapped_column("bytes", BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))


class AuditRow(Base):
    """What was decided, by whom; `hash` covers the row and `previous`, the hash of the one before it."""

    __tablename__ = "audit"

    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    key: Mapped[str | None] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    object: Mapped[str] = mapped_column(String(128))
    details: Mapped[dict[str, Any]]
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class OutboxRow(Base):
    """A hint to publish: written in the transaction that makes the work, deleted once the broker has it."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    topic: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class IdempotencyKey(Base):
    """The answer to a POST, kept for a day; under way (and leased) while `status` is null."""

    __tablename__ = "idempotency_keys"

    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(256), primary_key=True)
    route: Mapped[str] = mapped_column(String(256))
    body_digest: Mapped[bytes]
    token: Mapped[str] = mapped_column(String(64))
    leased_until: Mapped[datetime]
    status: Mapped[int | None] = mapped_column(Integer)
    headers: Mapped[dict[str, str] | None]
    body: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class WorkerRow(Base):
    """A worker that is up: which classes of work it takes; gone stale when `seen_at` is old."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    slots: Mapped[int] = mapped_column(Integer)
    gpus: Mapped[int] = mapped_column(Integer)
    seen_at: Mapped[datetime] = mapped_column(server_default=Now)
