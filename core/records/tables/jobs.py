"""Jobs, their files, events, curves and measurements."""

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.records.tables.base import Base, Now
from core.schema.jobs import STATUSES


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
    requested_training: Mapped[dict[str, Any] | None]
    """The training options that the request names, of a job that may share a run. Null: the job runs by itself."""
    recipe_steps: Mapped[dict[str, Any] | None]
    """Epochs and records per step of the recipe that a job was accepted with, which may share a run: a run fits them to
    the forget set of all its jobs (core.unlearning.step_fitting.Steps). Null: the steps of `training` are fitted."""
    combine_key: Mapped[str | None] = mapped_column(String(64))
    """Jobs of one model with the same key may share a run (core.schema.combining). Null: the job runs by itself."""
    shared_run: Mapped[str | None] = mapped_column(String(64))
    """The id of the job that leads the run which the job shares, or has shared (core.records.shared_runs)."""
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
    received_at: Mapped[datetime] = mapped_column(server_default=Now)
    """When the request that the job fulfils came in."""
    due: Mapped[date | None]
    """The last day on which the job may be done; null: it has no deadline."""
    extensions: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'::jsonb"))
    """Extensions of the deadline, oldest first (core.schema.deadlines.DeadlineExtension)."""
    webhook_url: Mapped[str | None] = mapped_column(Text)
    """Where the job's end is reported to; null: nowhere."""
    webhook_secret: Mapped[bytes | None]
    """The key of the reports' signatures, encrypted (api.webhooks.signature)."""
    snapshot_key: Mapped[bytes | None]
    """The key of the job's snapshots, encrypted under the service key; null: the key store holds it, or there is none.

    Emptied when the job ends."""
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
        Index("ix_jobs_organisation_due_id", "organisation", "due", "id", postgresql_where=text("due IS NOT NULL")),
        Index(
            "ix_jobs_unfulfilled_organisation_due_id",
            "organisation",
            "due",
            "id",
            postgresql_where=text("due IS NOT NULL AND status IN ('queued', 'running', 'paused', 'failed')"),
        ),
        Index("ix_jobs_start_checkpoint", "start_checkpoint", postgresql_where=text("start_checkpoint IS NOT NULL")),
        Index("ix_jobs_queue", "gpus", "id", postgresql_where=text("status = 'queued'")),
        Index("ix_jobs_paused", "id", postgresql_where=text("status = 'paused'")),
        Index("ix_jobs_leases", "lease_expires_at", postgresql_where=text("status = 'running'")),
        Index(
            "ix_jobs_combinable",
            "organisation",
            "model",
            "combine_key",
            "id",
            postgresql_where=text("status = 'queued' AND combine_key IS NOT NULL"),
        ),
        Index("ix_jobs_shared_run", "shared_run", postgresql_where=text("shared_run IS NOT NULL")),
        # runs from a model's head come one after the other: otherwise one could bring an earlier job's text back
        Index(
            "uq_jobs_running_from_head",
            "organisation",
            "model",
            unique=True,
            postgresql_where=text("status = 'running' AND start = 'head' AND (shared_run IS NULL OR shared_run = id)"),
        ),
    )


class ForgottenRecordsRow(Base):
    """Keyed digests of the records that a job made a model forget (core.storage.record_digests)."""

    __tablename__ = "forgotten_records"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    digests: Mapped[bytes]
    """Eight bytes for each record, in the order of the file."""
    key_check: Mapped[bytes | None]
    """Tells the service key that the digests were made under. Null, before version 0029: taken for the key in use."""


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
    kept: Mapped[dict[str, Any] | None]
    """Of the model after a job that unlearns: figures of single records of the forget set, which later jobs compare
    theirs with (core.schema.previously_forgotten.KeptFigures)."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
