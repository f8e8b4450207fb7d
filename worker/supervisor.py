"""One attempt at one job: its child, its lease, its end. Whatever the child does, the job gets a new status."""

import asyncio
import contextlib
import logging
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.records import completion
from core.records.leases import FenceLost
from core.records.notifications import Notifications
from core.records.retry import is_transient, retry_transient
from core.schema.events import (
    Cancelled,
    ChildEvent,
    Command,
    CostReported,
    Done,
    Failed,
    Judged,
    Paused,
    PhaseStarted,
    Saved,
)
from core.schema.job_spec import JobSpec
from core.schema.jobs import TERMINAL, Outcome, Phase
from core.schema.policies import Judgement
from core.settings import Settings
from core.storage import Storage, StorageError
from core.storage.file_keys import FileKeys
from core.storage.key_store import open_key_store
from core.storage.record_digests import key_check
from worker import assignment, checkpoint_transfer, model_integrity, sample_store, snapshot_store
from worker.child import Child, child_environment
from worker.claim import Claim
from worker.device_slots import Devices
from worker.event_recorder import EventRecorder
from worker.failure import AttemptFailed, child_died, service_failure
from worker.interruptions import wait_for_end
from worker.lease import Lease, LeaseExpired, Sessions
from worker.log import LOGGER, traceback_frames
from worker.metrics import WorkerMetrics
from worker.model_integrity import DigestCache
from worker.oom_advice import with_memory_advice
from worker.prefork_pool import PreforkPool
from worker.record_server import RecordServer
from worker.scratch import Scratch, measurements_folder
from worker.settlement import Finished, Interruption, Result, Settlement, Stopped
from worker.shutdown import ShutdownEvent

log = logging.getLogger(LOGGER)

CHILD = (sys.executable, "-m", "core.pipeline")

CANCEL_SECONDS = 10.0
"""How long a child may take to end by itself when it is cancelled. Nothing of its work is kept, so nothing is lost."""
PAUSE_SECONDS = 900.0
"""How long a child may take to pause: it finishes its step and writes a snapshot, minutes for a large model."""
UPLOAD_SECONDS = 20.0
"""How long a shutdown waits for the upload of a finished checkpoint."""


@dataclass(frozen=True)
class ChildResult:
    """The result that a child reported of its finished work."""

    outcome: Outcome | None
    step: int | None
    """The checkpoint's step; None where the job makes no checkpoint."""
    judgements: Mapping[str, Judgement]
    """By the job, of all that share the run."""


class Attempt:
    """Attends to one claimed job until it is finished, given back, cancelled, failed, or another worker's; likewise to
    the companions that share its run."""

    def __init__(
        self,
        claim: Claim,
        devices: Devices,
        *,
        sessions: Sessions,
        storage: Storage,
        settings: Settings,
        threads: int,
        shutdown: ShutdownEvent,
        requests: Notifications | None = None,
        metrics: WorkerMetrics | None = None,
        prefork_pool: PreforkPool | None = None,
        command: Sequence[str] = CHILD,
    ) -> None:
        self._job, self._companions = claim.job, claim.companions
        self._devices = devices
        self._sessions = sessions
        self._storage = storage
        self._settings = settings
        self._threads = threads
        self._shutdown = shutdown
        self._requests = requests
        self._metrics = metrics
        self._prefork_pool = prefork_pool
        self._command = command
        self._lease = Lease(
            sessions,
            self._job.id,
            self._job.fence,
            seconds=settings.lease_seconds,
            since=claim.since,
            companions={companion.id: companion.fence for companion in self._companions},
        )
        self._prefix = completion.checkpoint_prefix(self._job.id, self._job.fence)
        self._settlement = Settlement(self._lease, sessions, prefix=self._prefix, max_failures=settings.max_failures)
        key_store = open_key_store(settings.key_store_url, storage_url=settings.storage_url)
        self._keys = FileKeys(settings.service_key(), key_store)
        self._child: Child | None = None
        self._uploading = False
        self._forget_digests: Mapping[str, bytes] = {}
        self._cancel_requested = asyncio.Event()
        self._pause_requested = asyncio.Event()
        self._over = asyncio.Event()

    async def attend(self) -> None:
        """Works on the job to its end. Errors of job, child or database are not raised: job and log tell them."""
        log.info("attempt begins", extra=self._log_fields(attempt=self._job.attempts, gpus=self._devices.gpus))
        status, verdict = None, None
        if self._metrics is not None:
            self._metrics.attempt_started()
        try:
            async with Scratch(self._settings.scratch_dir, self._job.id, self._job.fence) as scratch:
                result, interruption = await self._work_under_lease(scratch)
                status = await self._settlement.settle(result, interruption)
                if isinstance(result, Finished) and self._job.id in result.judgements:
                    verdict = result.judgements[self._job.id].verdict
                if status in TERMINAL:
                    await snapshot_store.discard(self._sessions, self._job.id, scratch.snapshots, self._keys)
                elif self._lease.is_shared and interruption == "cancel":
                    # of a run that goes on with other jobs, or not at all
                    await snapshot_store.drop_unused(self._sessions, self._job.id, scratch.snapshots)
            log.info("attempt ends", extra=self._log_fields(became=status))
        except LeaseExpired:
            log.error("database out of reach until the lease ran out", extra=self._log_fields())
        except FenceLost:
            log.warning("the job is another worker's", extra=self._log_fields())
        except Exception:
            # the job may be unchanged: then its lease runs out, and the sweeper takes it back
            log.exception("attempt left unsettled", extra=self._log_fields())
        finally:
            if self._metrics is not None:
                self._metrics.attempt_ended(status, verdict)

    async def _work_under_lease(self, scratch: Scratch) -> tuple[Result, Interruption | None]:
        """Works while the lease is renewed. Raises FenceLost, with the child dead, when the lease is lost."""
        work = asyncio.create_task(self._work(scratch))
        renewal = asyncio.create_task(self._keep_lease())
        requests: dict[Interruption, asyncio.Task[object]] = {
            "cancel": asyncio.create_task(self._cancel_requested.wait()),
            "shutdown": asyncio.create_task(self._shutdown.wait()),
            "pause": asyncio.create_task(self._pause_requested.wait()),
        }
        try:
            interruption = await wait_for_end(work, renewal, requests, self._interrupt)
            if renewal.done():
                await renewal  # raises: it ends by itself only when the lease is lost
            return await _result(work), interruption
        finally:
            self._over.set()
            for task in (work, *requests.values()):
                task.cancel()
            await asyncio.gather(work, renewal, *requests.values(), return_exceptions=True)

    async def _interrupt(self, interruption: Interruption) -> float | None:
        """Tells the child, if one runs; returns the seconds that the work may still take (None: all it needs)."""
        log.info("attempt interrupted", extra=self._log_fields(by=interruption))
        if self._child is not None:
            await self._child.send_command(Command(command="cancel" if interruption == "cancel" else "pause"))
            seconds = {"cancel": CANCEL_SECONDS, "shutdown": self._settings.shutdown_seconds, "pause": PAUSE_SECONDS}
            return seconds[interruption]
        if self._uploading and interruption != "cancel":
            # the work is done and its devices are free: a pause comes too late
            return UPLOAD_SECONDS if interruption == "shutdown" else None
        return 0.0

    async def _keep_lease(self) -> None:
        """Renews the lease at every heartbeat, and as soon as a request to the job is announced."""
        async with contextlib.nullcontext() if self._requests is None else self._requests.watch(self._job.id) as watch:
            announced = self._over if watch is None else watch.event
            over = asyncio.create_task(self._over.wait())
            try:
                while True:
                    announcement = asyncio.create_task(announced.wait())
                    heartbeat = self._settings.heartbeat_seconds
                    await asyncio.wait({over, announcement}, timeout=heartbeat, return_when=asyncio.FIRST_COMPLETED)
                    announcement.cancel()
                    if over.done():
                        return
                    announced.clear()
                    await self._renew()
            finally:
                over.cancel()

    async def _renew(self) -> None:
        requested = await self._lease.renew()
        if requested == "cancel":
            self._cancel_requested.set()
        elif requested == "pause":
            self._pause_requested.set()

    async def _work(self, scratch: Scratch) -> Result:
        """Does the job's work, from the claimed row to the stored checkpoint."""
        try:
            assigned = await retry_transient(self._read_assignment)
            digests = DigestCache(self._settings.scratch_dir / "digests.json")
            for model in filter(None, (assigned.model, assigned.retrained)):
                await model_integrity.check(model, digests)
            if assigned.start is not None:
                prefix, files = assigned.start
                await checkpoint_transfer.download(self._storage, prefix, files, scratch.start)
            result = await self._run_child(assigned, scratch)
            if isinstance(result, Stopped):
                return result
            if result.step is None:
                return Finished(result.outcome, None, result.judgements)
            self._uploading = True
            checkpoint = await checkpoint_transfer.upload(
                self._storage, scratch.output, prefix=self._prefix, step=result.step
            )
            check = key_check(self._keys)
            return Finished(result.outcome, checkpoint, result.judgements, self._forget_digests, check)
        except AttemptFailed as failure:
            return failure.error
        except FenceLost:
            raise
        except Exception as error:
            log.exception("attempt broke off", extra=self._log_fields())
            return _unexpected_failure(error).error

    async def _read_assignment(self) -> assignment.Assignment:
        async with self._sessions() as session:
            return await assignment.read(session, self._job, self._companions, key_check=key_check(self._keys))

    async def _run_child(self, assigned: assignment.Assignment, scratch: Scratch) -> ChildResult | Stopped:
        """Starts the child, serves it its records and follows its events to the end."""
        token = secrets.token_urlsafe(32)
        tasks = self._settings.benchmark_tasks_dir
        samples = snapshots = None
        if self._job.kind == "unlearn":
            snapshots = await snapshot_store.open_store(self._lease, scratch, self._keys)
        if self._settings.keep_measurements and self._job.kind == "unlearn":
            samples = await sample_store.open_store(
                self._lease, self._job, self._settings.scratch_dir, self._settings.service_key()
            )
        spec = assigned.spec(
            scratch,
            token=token,
            threads=self._threads,
            cache=self._measurements_folder(),
            samples=samples,
            snapshots=snapshots,
            benchmark_tasks=None if tasks is None else tasks.resolve(),
            benchmark_code=self._settings.benchmark_code,
        )
        recorder = EventRecorder(self._lease)
        env = child_environment(gpus=self._devices.gpus, threads=self._threads, folder=scratch.temporary)
        if self._prefork_pool is not None and spec.processes == 1:
            await self._prefork_pool.wait_ready()
        async with (
            RecordServer(
                scratch.socket(), token, assigned.sets, storage=self._storage, keys=self._keys, earlier=assigned.earlier
            ) as record_server,
            self._child_for(spec, env) as child,
        ):
            self._devices.hand_over()
            self._child = child
            await child.send_spec(spec)
            following = asyncio.create_task(self._follow_child(child, recorder, assigned))
            serving = asyncio.create_task(record_server.wait_sent())
            flushing = asyncio.create_task(recorder.keep_flushing())
            try:
                await asyncio.wait({following, serving}, return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    await serving  # its failure is the reason, whatever the child reports after it
                result = await following
                self._forget_digests = record_server.forget_digests
                return result
            finally:
                self._child = None
                self._prepare_next_child()
                for task in (following, serving, flushing):
                    task.cancel()
                await asyncio.gather(following, serving, flushing, return_exceptions=True)

    def _measurements_folder(self) -> Path | None:
        if not self._settings.keep_measurements:
            return None
        return measurements_folder(self._settings.scratch_dir, self._job.organisation)

    def _child_for(self, spec: JobSpec, env: Mapping[str, str]) -> Child:
        """Returns the waiting child, if there is one, else a child that starts now. It has the devices' descriptors."""
        descriptors = self._devices.descriptors
        waiting = None
        if self._prefork_pool is not None and spec.processes == 1:
            waiting = self._prefork_pool.take(env, descriptors)
        child = Child(waiting) if waiting else Child.start(self._command, env=env, descriptors=descriptors)
        log.info("child starts", extra=self._log_fields(pid=child.pid, warm=waiting is not None))
        return child

    def _prepare_next_child(self) -> None:
        """Lets the next job's child start, once this job has loaded its model."""
        if self._prefork_pool is not None:
            self._prefork_pool.prepare_next()

    async def _follow_child(
        self, child: Child, recorder: EventRecorder, assigned: assignment.Assignment
    ) -> ChildResult | Stopped:
        """Records the child's events to its final one. AttemptFailed where that reports a failure, or is missing."""
        phase: Phase = "loading"
        saved: Saved | None = None
        judgements: dict[str, Judgement] = {}
        final: Done | Cancelled | Paused | Failed | None = None
        events = child.events()
        while (event := await self._next_event(events)) is not None:
            if isinstance(event, (Done, Cancelled, Paused, Failed)):
                final = event
                break
            if isinstance(event, Saved):
                saved = event
            if isinstance(event, CostReported) and self._metrics is not None:
                self._metrics.observe_cost(event)
            if isinstance(event, Judged):  # written with the finish: a failed attempt's judgement does not count
                judgements[event.job or self._job.id] = event.judgement
            if isinstance(event, PhaseStarted):
                phase = event.phase
                if phase != "loading":
                    self._prepare_next_child()
            await recorder.record(event)
        await recorder.flush()
        status = await child.exit_status()
        if isinstance(final, Cancelled | Paused):
            return Stopped(paused=isinstance(final, Paused))
        if not isinstance(final, Done):
            log.warning(
                "child failed" if final else "child died",
                extra=self._log_fields(
                    status=status, stderr_bytes=child.stderr_bytes, frames=traceback_frames(child.stderr())
                ),
            )
            if final is None:
                raise child_died(status)
            raise AttemptFailed(with_memory_advice(final.error, assigned, phase, self._settings.worker_classes))
        if self._job.kind != "unlearn":
            return ChildResult(final.outcome, None, {})
        if final.outcome == "nothing_to_forget":
            return ChildResult(final.outcome, None, judgements)
        if saved is None or final.outcome is None:
            raise service_failure("nothing_saved", "the job's process ended its work without saving a checkpoint")
        return ChildResult(final.outcome, saved.step, judgements)

    async def _next_event(self, events: AsyncIterator[ChildEvent]) -> ChildEvent | None:
        """Returns the child's next event, or None after the last. AttemptFailed where it is silent for too long."""
        limit = self._settings.child_silence_seconds
        try:
            async with asyncio.timeout(limit):
                return await anext(events, None)
        except TimeoutError:
            raise service_failure(
                "child_silent",
                f"the job's process gave no sign of life for {limit:.0f} seconds and was ended;"
                " CHILD_SILENCE_SECONDS sets the limit",
            ) from None

    def _log_fields(self, **extra: object) -> dict[str, object]:
        return {"job": self._job.id, "fence": self._job.fence, **extra}


async def _result(work: asyncio.Task[Result]) -> Result:
    """Returns the work's result; cancelled work counts as stopped."""
    try:
        return await work
    except asyncio.CancelledError:
        if work.cancelled():
            return Stopped()
        raise


def _unexpected_failure(error: Exception) -> AttemptFailed:
    """Returns the failure for an unexpected error, without the error's own text, which may quote a record."""
    if isinstance(error, StorageError):
        return service_failure(
            "storage_failed", "the storage could not be read or written; the worker's log says where"
        )
    if is_transient(error):
        return service_failure(
            "service_unreachable", "a server that the worker needs could not be reached; the worker's log says where"
        )
    return service_failure("internal", f"the worker met an unexpected {type(error).__qualname__}; its log says where")
