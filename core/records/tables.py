"""The tables. PostgreSQL is the source of truth: a fact that is not here did not happen."""

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
    wrapped_key: Mapped[bytes]
    """The file's data key, encrypted under the service key. Deleting the row makes the bytes unreadable."""
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


class JobRow(Base):
    """A job: its request, its state, its progress and its result."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    submitter: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    """The API key that submitted the job."""
    kind: Mapped[str] = mapped_column(String(16))
    """`unlearn`, `preview` (a dry run) or `measure`."""
    status: Mapped[str] = mapped_column(String(16))
    """Changed by core.records.job_status alone; a trigger refuses changes outside its table."""
    requested: Mapped[str | None] = mapped_column(String(16))
    """A running job's pending request, `pause` or `cancel`: its worker grants it."""
    phase: Mapped[str | None] = mapped_column(String(32))
    """The present phase of a running job; of a failed job, the phase that it failed in."""
    outcome: Mapped[str | None] = mapped_column(String(32))
    """Set on success: `unlearned`, `nothing_to_forget` or `preview`; null for a measurement."""
    verdict: Mapped[str | None] = mapped_column(String(16))
    """The judgement's verdict, null until the job has succeeded; jobs are listed by it."""
    model: Mapped[str] = mapped_column(String(96))
    """Id of the registered model. No foreign key: a registration may be deleted when its jobs are over."""
    start: Mapped[str] = mapped_column(String(64))
    """Where the job starts: `head`, `base`, or a checkpoint's id."""
    start_checkpoint: Mapped[str | None] = mapped_column(String(64))
    """The checkpoint that the job starts from, pinned when it is claimed at the latest; null: the registered model."""
    method: Mapped[str] = mapped_column(String(64))
    """The method's name."""
    parameters: Mapped[dict[str, Any]]
    """The method's parameters, every default filled in."""
    training: Mapped[dict[str, Any]]
    """Training options, every default filled in (core.schema.training.Training)."""
    output: Mapped[str] = mapped_column(String(16), server_default=text("'full'"))
    """What the checkpoint holds: `full`, `adapter` or `merged`."""
    data: Mapped[list[dict[str, Any]]]
    """The data sets: names, digests and counts, never a record (core.schema.jobs.SetUsed)."""
    checkpoint: Mapped[str | None] = mapped_column(String(64))
    """Id of the delivered checkpoint."""
    if TYPE_CHECKING:
        released: Mapped[bool | None]
    error: Mapped[dict[str, Any] | None]
    """Why the job failed (core.schema.jobs.JobError)."""
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'::jsonb"))
    """Notes for the submitter (core.schema.jobs.JobWarning)."""
    estimate: Mapped[dict[str, Any] | None]
    """Expected time and memory, at submission (core.schema.preflight.Estimate)."""
    measure: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[\"standard\"]'::jsonb"))
    """Measurements by name or with parameters, presets included."""
    policy: Mapped[dict[str, Any] | None]
    """The whole policy as it was at submission."""
    judgement: Mapped[dict[str, Any] | None]
    """The verdict, bound by bound (core.schema.policies.Judgement)."""
    retrained_model: Mapped[str | None] = mapped_column(String(96))
    """Id of a registered model that was retrained without the forget set."""
    preset: Mapped[str | None] = mapped_column(String(16))
    """Of a measurement: the preset of columns that it was submitted with."""
    external_reference: Mapped[str | None] = mapped_column(String(256))
    """The submitter's own reference, such as a ticket's number."""
    due: Mapped[date | None]
    """The day by which the job must be done."""
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata", server_default=text("'{}'::jsonb"))
    """The submitter's own key-value pairs."""

    gpus: Mapped[int] = mapped_column(Integer)
    """GPUs that the job needs; it names the queue. 0: it runs on the CPU."""
    step: Mapped[int | None] = mapped_column(Integer)
    """Updates made."""
    steps: Mapped[int | None] = mapped_column(Integer)
    """Updates in all; null until training begins."""
    fraction: Mapped[float | None]
    """Share of the whole job that is done, 0 to 1, all phases counted."""
    eta_seconds: Mapped[float | None]
    """Seconds that the rest of the job may take."""

    fence: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Rises with each claim and each end of an attempt; a worker writes only while the fence is still its claim's."""
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Claims so far."""
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Failed attempts since submission or the last retry by a person. A worker's shutdown is no failure."""
    worker: Mapped[str | None] = mapped_column(String(128))
    """The worker that runs the job."""
    lease_expires_at: Mapped[datetime | None]
    """When a running job is taken from its worker unless the lease is renewed; null: not running."""
    run_after: Mapped[datetime] = mapped_column(server_default=Now)
    """A queued job is not claimed before."""
    event_seq: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """`seq` of the newest event."""
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Rises with each change that listeners see; the API's `ETag`."""

    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    started_at: Mapped[datetime | None]
    """When the job was first claimed."""
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(repr(status) for status in STATUSES)})", name="status"),
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
        # jobs from a model's head run one after the other: otherwise a job could bring an earlier job's text back
        Index(
            "uq_jobs_running_from_head",
            "organisation",
            "model",
            unique=True,
            postgresql_where=text("status = 'running' AND start = 'head'"),
        ),
    )


class JobFile(Base):
    """A file that a job needs: it cannot be deleted while the job is not over."""

    __tablename__ = "job_files"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    """Order in the request, from 0."""
    file: Mapped[str] = mapped_column(String(64), index=True)
    """The file's id. No foreign key: a file may be deleted when its jobs are over."""
    name: Mapped[str] = mapped_column(String(16))
    """The set that the file belongs to (core.schema.evaluation.SetName)."""
    kind: Mapped[str | None] = mapped_column(String(32))
    """Of a retain file: `in_distribution` or `general`."""
    weight: Mapped[float]
    """Share of a retain file in the mix."""
    part: Mapped[str | None] = mapped_column(String(16))
    """`trains` or `measures`: the only use of the file; null: one half of it for each."""


class EventRow(Base):
    """A public event of a job."""

    __tablename__ = "events"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """Numbered from 1 within the job, without gaps."""
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    """The event's own fields; never a record's text."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class CurveRow(Base):
    """One value of one step; a later attempt overwrites an earlier attempt's value of the same step."""

    __tablename__ = "curves"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    value: Mapped[float]


class MeasurementRow(Base):
    """Measurements of one model of a job; a later attempt overwrites an earlier attempt's."""

    __tablename__ = "measurements"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    moment: Mapped[str] = mapped_column(String(16), primary_key=True)
    """The measured model: `before`, `after` or `retrained`."""
    fence: Mapped[int] = mapped_column(Integer)
    """The attempt that measured."""
    measurements: Mapped[dict[str, Any]]
    """All figures (core.schema.evaluation.Measurements)."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


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
    """Where the files are in the storage."""
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


class AuditRow(Base):
    """One entry of the audit log."""

    __tablename__ = "audit"

    organisation: Mapped[str] = mapped_column(ForeignKey("organisations.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Numbered from 1 within the organisation, without gaps."""
    at: Mapped[datetime]
    key: Mapped[str | None] = mapped_column(String(64))
    """The API key that decided; null: the service itself."""
    action: Mapped[str] = mapped_column(String(64))
    """Such as `checkpoint.released`."""
    object: Mapped[str] = mapped_column(String(128))
    """Id or name of the object of the decision."""
    details: Mapped[dict[str, Any]]
    previous: Mapped[str] = mapped_column(String(64))
    """`hash` of the entry before; 64 zeros for the first."""
    hash: Mapped[str] = mapped_column(String(64))
    """sha256 over the entry, `previous` included (core.records.audit.entry_hash)."""


class OutboxRow(Base):
    """A hint to publish: written in the transaction that makes the work, deleted when the broker has it."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    topic: Mapped[str] = mapped_column(String(64))
    """The queue's name."""
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


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
    body: Mapped[bytes | None]
    """The stored answer's body, encrypted."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class WorkerRow(Base):
    """A worker and the work that it takes. It counts as down when `seen_at` is old."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    """`host:pid`."""
    slots: Mapped[int] = mapped_column(Integer)
    """Jobs without GPUs that it runs at a time."""
    gpus: Mapped[int] = mapped_column(Integer)
    seen_at: Mapped[datetime] = mapped_column(server_default=Now)
    """Its last sign of life."""
