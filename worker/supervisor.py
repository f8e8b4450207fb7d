"""One attempt at one job: its child, its lease, its end. Whatever the child does, this says what became of the job."""

import asyncio
import contextlib
import logging
import secrets
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.records import completion, leases
from core.records.leases import FenceLost
from core.records.notifications import Notifications
from core.records.retry import is_transient, retry_transient
from core.records.tables import JobRow
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
from worker import assignment, checkpoint_transfer, model_integrity
from worker.child import Child, child_environment
from worker.device_slots import Devices
from worker.event_recorder import EventRecorder
from worker.failure import AttemptFailed, child_died, service_failure
from worker.lease import Lease, LeaseExpired, Sessions
from worker.log import LOGGER, traceback_frames
from worker.metrics import WorkerMetrics
from worker.model_integrity import DigestCache
from worker.oom_advice import with_memory_advice
from worker.prefork_pool import PreforkPool
from worker.record_server import RecordServer
from worker.scratch import Scratch, measurement_cache
from worker.settlement import Finished, Interruption, Result, Settlement, Stopped
from worker.shutdown import ShutdownEvent

log = logging.getLogger(LOGGER)

CHILD = (sys.executable, "-m", "core.pipeline")

CANCEL_SECONDS = 10.0
"""How long a child may take to end by itself once told to; nothing of its work is kept, so nothing is lost."""
PAUSE_SECONDS = 900.0
"""The same for one that is to pause, who finishes its step and writes a snapshot; a large model's takes minutes."""
UPLOAD_SECONDS = 20.0
"""How long a shutdown waits for a finished checkpoint that is on its way to the storage."""

STRONGEST_FIRST: tuple[Interruption, ...] = ("cancel", "shutdown", "pause")


@dataclass(frozen=True)
class ChildResult:
    """What a child that did its work said of it."""

    outcome: Outcome | None
    step: int | None
    """Of the checkpoint; None where there is none to be made."""
    judgement: Judgement | None


class Attempt:
    """Attends to one claimed job until it is finished, given back, cancelled, failed, or somebody else's."""

    def __init__(
        self,
        job: JobRow,
        devices: Devices,
        *,
        since: float,
        sessions: Sessions,
        storage: Storage,
        settings: Settings,
        threads: int,
        stopping: ShutdownEvent,
        requests: Notifications | None = None,
        metrics: WorkerMetrics | None = None,
        warm: PreforkPool | None = None,
        command: Sequence[str] = CHILD,
    ) -> None:
        self._job = job
        self._devices = devices
        self._sessions = sessions
        self._storage = storage
        self._settings = settings
        self._threads = threads
        self._stopping = stopping
        self._requests = requests
        self._metrics = metrics
        self._warm = warm
        self._command = command
        self._lease = Lease(sessions, job.id, job.fence, seconds=settings.lease_seconds, since=since)
        self._prefix = completion.checkpoint_prefix(job.id, job.fence)
        self._ending = Settlement(self._lease, sessions, prefix=self._prefix, max_failures=settings.max_failures)
        self._child: Child | None = None
        self._uploading = False
        self._cancel_wished = asyncio.Event()
        self._pause_wished = asyncio.Event()
        self._over = asyncio.Event()

    async def attend(self) -> None:
        """Never raises for what the job, its child or the database do: the outcome is in the job's row and the log."""
        log.info("attempt begins", extra=self._named(attempt=self._job.attempts, gpus=self._devices.gpus))
        became, verdict = None, None
        if self._metrics is not None:
            self._metrics.begins()
        try:
            async with Scratch(self._settings.scratch_dir, self._job.id, self._job.fence) as scratch:
                result, interruption = await self._work_under_lease(scratch)
                became = await self._ending.settle(result, interruption)
                if isinstance(result, Finished) and result.judgement is not None:
                    verdict = result.judgement.verdict
                if became in TERMINAL:
                    await scratch.forget()
            log.info("attempt ends", extra=self._named(became=became))
        except LeaseExpired:
            log.error("database out of reach until the lease ran out", extra=self._named())
        except FenceLost:
            log.warning("the job is somebody else's", extra=self._named())
        except Exception:
            # nothing is known to be written: the lease runs out, and the job is taken back
            log.exception("attempt left unsettled", extra=self._named())
        finally:
            if self._metrics is not None:
                self._metrics.ends(became, verdict)

    async def _work_under_lease(self, scratch: Scratch) -> tuple[Result, Interruption | None]:
        """Works while the lease is kept alive; raises FenceLost, with the child dead, when it is lost."""
        work = asyncio.create_task(self._work(scratch))
        pulse = asyncio.create_task(self._keep_lease())
        wishes: dict[Interruption, asyncio.Task[object]] = {
            "cancel": asyncio.create_task(self._cancel_wished.wait()),
            "shutdown": asyncio.create_task(self._stopping.wait()),
            "pause": asyncio.create_task(self._pause_wished.wait()),
        }
        try:
            interruption = await self._until_over(work, pulse, wishes)
            if pulse.done():
                await pulse  # raises: it ends by itself only when the lease is lost
            return await _result(work), interruption
        finally:
            self._over.set()
            for task in (work, *wishes.values()):
                task.cancel()
            await asyncio.gather(work, pulse, *wishes.values(), return_exceptions=True)

    async def _until_over(
        self,
        work: asyncio.Task[Result],
        pulse: asyncio.Task[None],
        wishes: dict[Interruption, asyncio.Task[object]],
    ) -> Interruption | None:
        """Waits for the work or the lease to end and hands down what is wished meanwhile; returns that.

        A stronger wish replaces a weaker one. Work that takes too long over it is cancelled, which kills the child.
        """
        heard: Interruption | None = None
        end: float | None = None
        while True:
            stronger = STRONGEST_FIRST[: STRONGEST_FIRST.index(heard)] if heard else STRONGEST_FIRST
            left = None if end is None else max(0.0, end - time.monotonic())
            tasks = {work, pulse, *(wishes[name] for name in stronger)}
            await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if work.done() or pulse.done():
                return heard
            wish = next((name for name in stronger if wishes[name].done()), None)
            if wish is None:
                work.cancel()
                await asyncio.wait({work})
                return heard
            heard, grace = wish, await self._hand_down(wish)
            end = None if grace is None else time.monotonic() + grace

    async def _hand_down(self, wish: Interruption) -> float | None:
        """Tells the child, if there is one; returns the seconds that the work may still take (None: all it needs)."""
        log.info("attempt interrupted", extra=self._named(by=wish))
        if self._child is not None:
            await self._child.tell(Command(command="cancel" if wish == "cancel" else "pause"))
            seconds = {"cancel": CANCEL_SECONDS, "shutdown": self._settings.shutdown_seconds, "pause": PAUSE_SECONDS}
            return seconds[wish]
        if self._uploading and wish != "cancel":
            # the work is done and its devices are free: a pause has come too late
            return UPLOAD_SECONDS if wish == "shutdown" else None
        return 0.0

    async def _keep_lease(self) -> None:
        """Renews the lease at every heartbeat, and as soon as a request to the job is announced."""
        async with contextlib.nullcontext() if self._requests is None else self._requests.watch(self._job.id) as watch:
            announced = self._over if watch is None else watch.event
            over = asyncio.create_task(self._over.wait())
            try:
                while True:
                    waking = asyncio.create_task(announced.wait())
                    beat = self._settings.heartbeat_seconds
                    await asyncio.wait({over, waking}, timeout=beat, return_when=asyncio.FIRST_COMPLETED)
                    waking.cancel()
                    if over.done():
                        return
                    announced.clear()
                    await self._renew()
            finally:
                over.cancel()

    async def _renew(self) -> None:
        wish = await self._lease.renew()
        if wish == "cancel":
            self._cancel_wished.set()
        elif wish == "pause":
            self._pause_wished.set()

    async def _work(self, scratch: Scratch) -> Result:
        """From the claimed row to the stored checkpoint."""
        try:
            assigned = await retry_transient(self._assigned)
            known = DigestCache(self._settings.scratch_dir / "digests.json")
            for model in filter(None, (assigned.model, assigned.retrained)):
                await model_integrity.check(model, known)
            if assigned.start is not None:
                prefix, files = assigned.start
                await checkpoint_transfer.fetch(self._storage, prefix, files, scratch.start)
            ended = await self._run_child(assigned, scratch)
            if isinstance(ended, Stopped):
                return ended
            if ended.step is None:
                return Finished(ended.outcome, None, None)
            self._uploading = True
            delivered = await checkpoint_transfer.deliver(
                self._storage, scratch.output, prefix=self._prefix, step=ended.step
            )
            return Finished(ended.outcome, delivered, ended.judgement)
        except AttemptFailed as failure:
            return failure.error
        except FenceLost:
            raise
        except Exception as error:
            log.exception("attempt broke off", extra=self._named())
            return _broken(error).error

    async def _assigned(self) -> assignment.Assignment:
        async with self._sessions() as session:
            return await assignment.read(session, self._job)

    async def _run_child(self, assigned: assignment.Assignment, scratch: Scratch) -> ChildResult | Stopped:
        """Starts the child, hands it its records and hears it out."""
        token = secrets.token_urlsafe(32)
        tasks = self._settings.benchmark_tasks_dir
        spec = assigned.spec(
            scratch,
            token=token,
            threads=self._threads,
            cache=self._measured(),
            benchmark_tasks=None if tasks is None else tasks.resolve(),
            benchmark_code=self._settings.benchmark_code,
        )
        service_key = self._settings.service_key()
        recorder = EventRecorder(self._lease)
        env = child_environment(gpus=self._devices.gpus, threads=self._threads, folder=scratch.temporary)
        if self._warm is not None and spec.processes == 1:
            await self._warm.coming()
        async with (
            RecordServer(scratch.socket(), token, assigned.sets, storage=self._storage, key=service_key) as handover,
            self._child_for(spec, env) as child,
        ):
            self._devices.let_go()
            self._child = child
            await child.give(spec)
            hearing = asyncio.create_task(self._hear(child, recorder, assigned))
            serving = asyncio.create_task(handover.served())
            flushing = asyncio.create_task(recorder.keep_flushing())
            try:
                await asyncio.wait({hearing, serving}, return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    await serving  # its failure is the reason, whatever the child then says
                return await hearing
            finally:
                self._child = None
                self._loaded()
                for task in (hearing, serving, flushing):
                    task.cancel()
                await asyncio.gather(hearing, serving, flushing, return_exceptions=True)

    def _measured(self) -> Path | None:
        if not self._settings.keep_measurements:
            return None
        return measurement_cache(self._settings.scratch_dir, self._job.organisation)

    def _child_for(self, spec: JobSpec, env: Mapping[str, str]) -> Child:
        """The child that waits, where there is one, else one that starts now. It has the devices' descriptors."""
        descriptors = self._devices.descriptors
        waiting = self._warm.take(env, descriptors) if self._warm is not None and spec.processes == 1 else None
        child = Child(waiting) if waiting else Child.start(self._command, env=env, descriptors=descriptors)
        log.info("child starts", extra=self._named(pid=child.pid, warm=waiting is not None))
        return child

    def _loaded(self) -> None:
        """The job has what it starts with: time to prepare the next one's child."""
        if self._warm is not None:
            self._warm.prepare()

    async def _hear(
        self, child: Child, recorder: EventRecorder, assigned: assignment.Assignment
    ) -> ChildResult | Stopped:
        """Writes down what the child says, to its last word. AttemptFailed where that is bad news, or missing."""
        phase: Phase = "loading"
        saved: Saved | None = None
        judgement: Judgement | None = None
        last: Done | Cancelled | Paused | Failed | None = None
        events = child.events()
        while (event := await self._next(events)) is not None:
            if isinstance(event, (Done, Cancelled, Paused, Failed)):
                last = event
                break
            if isinstance(event, Saved):
                saved = event
            if isinstance(event, CostReported) and self._metrics is not None:
                self._metrics.costs(event)
            if isinstance(event, Judged):  # written down with the finish: what an attempt that fails says is nobody's
                judgement = event.judgement
            if isinstance(event, PhaseStarted):
                phase = event.phase
                if phase != "loading":
                    self._loaded()
            await recorder.take(event)
        await recorder.flush()
        status = await child.exit_status()
        if isinstance(last, Cancelled | Paused):
            return Stopped(paused=isinstance(last, Paused))
        if not isinstance(last, Done):
            log.warning(
                "child failed" if last else "child died",
                extra=self._named(
                    status=status, stderr_bytes=child.stderr_bytes, frames=traceback_frames(child.stderr())
                ),
            )
            if last is None:
                raise child_died(status)
            raise AttemptFailed(with_memory_advice(last.error, assigned, phase, self._settings.worker_classes))
        if self._job.kind != "unlearn":
            return ChildResult(last.outcome, None, None)
        if saved is None or last.outcome is None:
            raise service_failure("nothing_saved", "the job's process ended its work without saving a checkpoint")
        return ChildResult(last.outcome, saved.step, judgement)

    async def _next(self, events: AsyncIterator[ChildEvent]) -> ChildEvent | None:
        """The child's next event, None after its last. AttemptFailed where it is silent for longer than it may be."""
        limit = self._settings.child_silence_seconds
        try:
            async with asyncio.timeout(limit):
                return await anext(events, None)
        except TimeoutError:
            message = f"the job's process gave no sign of life for {limit:.0f} seconds and was ended"
            raise service_failure("child_silent", message) from None

    def _named(self, **more: object) -> dict[str, object]:
        return {"job": self._job.id, "fence": self._job.fence, **more}


async def _result(work: asyncio.Task[Result]) -> Result:
    """The work's result; work that was cancelled has stopped."""
    try:
        return await work
    except asyncio.CancelledError:
        if work.cancelled():
            return Stopped()
        raise


def _broken(error: Exception) -> AttemptFailed:
    """Words for what was not foreseen; never the error's own, which may quote a record."""
    if isinstance(error, StorageError):
        return service_failure(
            "storage_failed", "the storage could not be read or written; the worker's log says where"
        )
    if is_transient(error):
        return service_failure("service_unreachable", "a server that the worker needs could not be reached")
    return service_failure("internal", f"the worker met an unexpected {type(error).__qualname__}; its log says where")


async def claim_job(sessions: Sessions, *, worker: str, gpus: int, lease_seconds: float) -> tuple[JobRow, float] | None:
    """Claims the next job of this class: its row, and the monotonic time from which its lease counts."""
    since = time.monotonic()
    async with sessions.begin() as session:
        job = await leases.claim(session, worker=worker, gpus=gpus, lease_seconds=lease_seconds)
    return None if job is None else (job, since)
