"""The state machine of a job: the table of allowed changes of `status`, and the only code that makes them.

    queued     start → running, pause → paused, cancel → cancelled
    running    succeed → succeeded, fail → failed, and where its attempt ends before the work is done:
               requeue → queued, pause → paused, cancel → cancelled
    paused     resume → queued, cancel → cancelled
    failed     retry → queued, cancel → cancelled

Each function expects a job whose row the caller has locked (`leases.lock_job`, or SELECT … FOR UPDATE). It changes the
row, appends the change's event and its entry of the audit log, and, where the change makes work, adds a hint to the
outbox; a change that ends a job writes the message to its webhook. All of it commits with the caller's transaction or
not at all. `key` is the API key of the person who asked. InvalidChange: the table does not allow the change from the
job's present status. The database refuses the same changes by a trigger on `jobs` (migrations 0012 and 0025), also
from code that is not this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from core.queue import queue_name
from core.records import audit, events, outbox, webhooks
from core.records.clock import seconds_from_now
from core.records.tables import JobRow, SampleKeyRow
from core.schema.audit import Detail
from core.schema.event_types import EventType
from core.schema.jobs import STATUSES, TERMINAL, Outcome, Status

UNIQUE_VIOLATION = "23505"
"""SQLSTATE (PostgreSQL, appendix A: unique_violation)."""


@dataclass(frozen=True)
class Change:
    """One change of a job's status. A change that ends a job also sets `finished_at`, and empties the column with the
    key of the job's snapshots. A failed job has ended already: its cancelling keeps the time of the failure."""

    sources: frozenset[Status | None]
    """Statuses that the change may start from; None: the job does not exist yet."""
    target: Status
    event: EventType
    """Type of the event that the change appends."""
    clears: tuple[str, ...] = ()
    """Columns that become null."""
    raises_fence: bool = False
    """Whether the fence rises: a worker that held the job until now can write nothing more."""
    hints: bool = False
    """Whether the change adds an outbox row, the hint that the queue of the job's class has work."""

    def is_allowed(self, job: JobRow) -> bool:
        """Whether the job's present status is one that the change may start from."""
        return job.status in self.sources


def _sources(*statuses: Status | None) -> frozenset[Status | None]:
    return frozenset(statuses)


LEASE = ("lease_expires_at", "worker", "eta_seconds", "requested")
"""Columns that an attempt leaves behind, however it ends."""
PROGRESS = ("step", "steps", "fraction")

SUBMIT = Change(_sources(None), "queued", EventType.CREATED, hints=True)
START = Change(_sources("queued"), "running", EventType.STARTED, clears=(*PROGRESS, "eta_seconds"), raises_fence=True)
SUCCEED = Change(_sources("running"), "succeeded", EventType.SUCCEEDED, clears=(*LEASE, "phase"), raises_fence=True)
FAIL = Change(_sources("running"), "failed", EventType.FAILED, clears=(*LEASE, "shared_run"), raises_fence=True)
"""Keeps phase and progress: they tell where the job failed."""
REQUEUE = Change(
    _sources("running"),
    "queued",
    EventType.REQUEUED,
    clears=(*LEASE, "phase", *PROGRESS),
    raises_fence=True,
    hints=True,
)
PAUSE_RUNNING = Change(
    _sources("running"), "paused", EventType.PAUSED, clears=(*LEASE, "phase", "shared_run"), raises_fence=True
)
"""Keeps the progress, though the snapshot that the job resumes from may be a little older."""
CANCEL_RUNNING = Change(
    _sources("running"),
    "cancelled",
    EventType.CANCELLED,
    clears=(*LEASE, "phase", *PROGRESS, "shared_run"),
    raises_fence=True,
)
PAUSE = Change(_sources("queued"), "paused", EventType.PAUSED, clears=("shared_run",))
RESUME = Change(_sources("paused"), "queued", EventType.REQUEUED, hints=True)
CANCEL = Change(
    _sources("queued", "paused", "failed"),
    "cancelled",
    EventType.CANCELLED,
    clears=("requested", "phase", "error", "shared_run"),
)
"""Of a failed job: its request was withdrawn, or answered in another way. Events and audit log keep the error."""
RETRY = Change(
    _sources("failed"), "queued", EventType.REQUEUED, clears=("error", "finished_at", "phase", *PROGRESS), hints=True
)

CHANGES = (
    *(SUBMIT, START, SUCCEED, FAIL, REQUEUE, PAUSE_RUNNING, CANCEL_RUNNING),
    *(PAUSE, RESUME, CANCEL, RETRY),
)

TRANSITIONS: dict[Status, frozenset[Status]] = {
    status: frozenset(change.target for change in CHANGES if status in change.sources) for status in STATUSES
}
"""The statuses that may follow each status."""


AUDITED = ("reason", "model", "method", "checkpoint", "digest", "verdict", "released")
"""Fields of an event that its entry of the audit log repeats."""


class InvalidChange(Exception):
    """The table does not allow this change of a job's status: a fault in the code that asked for it."""

    def __init__(self, job: str, now: str | None, target: Status) -> None:
        super().__init__(f"{job} cannot go from {now} to {target}")


class HeadBusy(Exception):
    """Another job that starts from the same model's head is running. The transaction can only be rolled back."""


async def submit(session: AsyncSession, job: JobRow, data: Mapping[str, Any]) -> None:
    """Adds a new job to the queue, every counter at 0."""
    _set_status(job, SUBMIT)
    job.fence = job.attempts = job.failures = job.event_seq = job.version = 0
    session.add(job)
    await session.flush()
    await _publish(session, job, SUBMIT, data, key=job.submitter)


async def start(session: AsyncSession, job: JobRow, *, worker: str, lease_seconds: float) -> None:
    """Gives a queued job to a worker for an attempt. HeadBusy: another job of the model's head came first."""
    _set_status(job, START)
    job.phase, job.worker = "loading", worker
    job.attempts += 1
    job.lease_expires_at = seconds_from_now(lease_seconds)
    job.started_at = func.coalesce(JobRow.started_at, func.clock_timestamp())
    try:
        await session.flush()
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) != UNIQUE_VIOLATION:
            raise
        raise HeadBusy(job.model) from error
    await _publish(session, job, START, {"attempt": job.attempts})


async def succeed(
    session: AsyncSession, job: JobRow, *, outcome: Outcome | None, checkpoint: str | None, data: Mapping[str, Any]
) -> None:
    """Ends a running job with its outcome and, where it made one, its checkpoint's id."""
    _set_status(job, SUCCEED)
    job.outcome, job.checkpoint = outcome, checkpoint
    await _publish(session, job, SUCCEED, data)


async def fail(session: AsyncSession, job: JobRow, error: dict[str, object]) -> None:
    """Ends a running job with an error."""
    _set_status(job, FAIL)
    job.error = error
    await _destroy_samples(session, job)
    await _publish(session, job, FAIL, {"error": error})


async def end_attempt(session: AsyncSession, job: JobRow, *, reason: str, delay_seconds: float = 0.0) -> None:
    """Takes a running job from its worker: pauses or cancels it where that was requested, else queues it again.

    A job that is queued again may be claimed after `delay_seconds`.
    """
    change = {"pause": PAUSE_RUNNING, "cancel": CANCEL_RUNNING}.get(job.requested or "", REQUEUE)
    _set_status(job, change)
    if change is REQUEUE:
        job.run_after = seconds_from_now(delay_seconds)
    if change is CANCEL_RUNNING:
        await _destroy_samples(session, job)
    await _publish(session, job, change, {"reason": reason})


async def pause(session: AsyncSession, job: JobRow, *, key: str | None = None) -> None:
    """Takes a queued job out of the queue until it is resumed."""
    _set_status(job, PAUSE)
    await _publish(session, job, PAUSE, {"reason": "asked"}, key=key)


async def resume(session: AsyncSession, job: JobRow, *, key: str | None = None) -> None:
    """Puts a paused job back into the queue."""
    _set_status(job, RESUME)
    job.run_after = func.clock_timestamp()
    await _publish(session, job, RESUME, {"reason": "resumed"}, key=key)


async def cancel(session: AsyncSession, job: JobRow, *, key: str | None = None) -> None:
    """Cancels a queued, paused or failed job."""
    active = job.status not in TERMINAL
    _set_status(job, CANCEL)
    if active:  # the failure has destroyed the samples of a failed job; those of today are of later jobs
        await _destroy_samples(session, job)
    await _publish(session, job, CANCEL, {}, key=key)


async def retry(session: AsyncSession, job: JobRow, *, key: str | None = None) -> None:
    """Queues a failed job again, with as many attempts as a new one has."""
    _set_status(job, RETRY)
    job.failures = 0
    job.run_after = func.clock_timestamp()
    await _publish(session, job, RETRY, {"reason": "retried"}, key=key)


def _set_status(job: JobRow, change: Change) -> None:
    if not change.is_allowed(job):
        raise InvalidChange(job.id, job.status, change.target)
    ends = change.target in TERMINAL and job.status not in TERMINAL
    job.status = change.target
    for column in change.clears:
        setattr(job, column, None)
    if change.raises_fence:
        job.fence += 1
    if ends:
        job.finished_at = func.clock_timestamp()
        job.snapshot_key = None  # snapshots left on a disk are now unreadable


async def _destroy_samples(session: AsyncSession, job: JobRow) -> None:
    """Deletes the keys of the model's rehearsal samples: a job that ended early may not have dropped its text there."""
    if job.kind != "unlearn" or not job.attempts:
        return
    of_model = (SampleKeyRow.organisation == job.organisation, SampleKeyRow.model == job.model)
    await session.execute(delete(SampleKeyRow).where(*of_model))


async def _publish(
    session: AsyncSession, job: JobRow, change: Change, data: Mapping[str, Any], *, key: str | None = None
) -> None:
    await events.append(session, job, change.event, dict(data))
    if change.target in TERMINAL:
        await webhooks.add(session, job)
    if change.hints:
        await outbox.add(session, queue_name(job.gpus), {})
    details: dict[str, Detail] = {"status": change.target, "attempt": job.attempts}
    details |= {name: data[name] for name in AUDITED if name in data}
    if change is FAIL:
        details["error"] = data["error"]["code"]
    await audit.append(session, job.organisation, key, f"job.{change.event}", job.id, details)
