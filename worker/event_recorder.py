"""Writes the child's events to the database: later updates and curves in batches, every other event at once."""

import asyncio

from core.records import progress
from core.schema.event_types import EventType
from core.schema.events import (
    ChildEvent,
    CostReported,
    CurvePoint,
    EnvironmentReported,
    Heartbeat,
    Measured,
    PhaseStarted,
    ProgressMade,
    Resumed,
    Saved,
    SetsMade,
    Snapshotted,
    Trained,
    Tuned,
    Warned,
)
from worker.lease import Lease

BATCH_SECONDS = 1.0
_POINTS = 4000
"""The most curve points that wait; it also keeps one statement under PostgreSQL's limit of 32767 parameters."""


class EventRecorder:
    """The recorder of one attempt, for all jobs of its run. Every write checks the fence and may raise FenceLost."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._progress: ProgressMade | None = None
        self._progress_unwritten = False
        self._beat: Heartbeat | None = None
        self._points: dict[tuple[str, int], float] = {}
        self._flushing = asyncio.Lock()

    async def record(self, event: ChildEvent) -> None:
        """Records one event. The supervisor handles the events that end a job."""
        if isinstance(event, Heartbeat):
            self._beat = event
            return
        if isinstance(event, ProgressMade):
            first = self._progress is None
            self._progress, self._progress_unwritten = event, True
            if first:  # it says that the job has begun to change its model
                await self.flush()
            return
        if isinstance(event, CurvePoint):
            self._points |= {(name, event.step): value for name, value in event.values.items()}
            if len(self._points) >= _POINTS:
                await self.flush()
            return
        await self.flush()
        if isinstance(event, PhaseStarted):
            await self._lease.write_all(progress.set_phase, event.phase)
        elif isinstance(event, Warned):
            if event.job is None:
                await self._lease.write_all(progress.add_warning, event.code, event.message)
            else:
                await self._lease.write_to(event.job, progress.add_warning, event.code, event.message)
        elif isinstance(event, SetsMade):
            await self._lease.write_all(progress.set_made_sets, event.sets)
        elif isinstance(event, Measured):
            job = event.job or self._lease.job
            await self._lease.write_to(job, progress.add_measurements, event.moment, event.measurements, event.kept)
        elif isinstance(event, Saved | Snapshotted | Resumed):
            await self._lease.write_all(progress.add_event, EventType(event.kind), {"step": event.step})
        elif isinstance(event, CostReported | EnvironmentReported | Tuned | Trained):
            data = event.model_dump(mode="json", exclude={"kind"})
            await self._lease.write_all(progress.add_event, EventType(event.kind), data)

    async def flush(self) -> None:
        """Writes the waiting progress and curve points."""
        async with self._flushing:
            beat, self._beat = self._beat, None
            if beat is not None and beat.fraction is not None:
                await self._lease.write_all(progress.set_fraction, fraction=beat.fraction, eta_seconds=beat.eta_seconds)
            latest, points = self._progress, self._points
            if latest is None or not (self._progress_unwritten or points):  # points before any progress wait for it
                return
            self._progress_unwritten, self._points = False, {}
            await self._lease.write_all(
                progress.set_steps,
                step=latest.step,
                steps=latest.steps,
                eta_seconds=latest.eta_seconds,
                points=[(step, name, value) for (name, step), value in points.items()],
            )

    async def keep_flushing(self) -> None:
        """Flushes about once a second, until it is cancelled."""
        while True:
            await asyncio.sleep(BATCH_SECONDS)
            await self.flush()
