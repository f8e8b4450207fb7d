"""Writes down what the child says: the first update at once, later ones and curves in batches, all else at once."""

import asyncio

from core.records import progress
from core.schema.event_types import EventType
from core.schema.events import (
    ChildEvent,
    CostReported,
    CurvePoint,
    Heartbeat,
    Measured,
    PhaseStarted,
    ProgressMade,
    Resumed,
    Saved,
    Snapshotted,
    Warned,
)
from worker.lease import Lease

BATCH_SECONDS = 1.0
_POINTS = 4000
"""Curve points that wait at most; also keeps one statement under PostgreSQL's limit of 32767 parameters."""


class EventRecorder:
    """Of one attempt. Every write is fenced; FenceLost comes through."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._progress: ProgressMade | None = None
        self._moved = False
        self._beat: Heartbeat | None = None
        self._points: dict[tuple[str, int], float] = {}
        self._turn = asyncio.Lock()

    async def take(self, event: ChildEvent) -> None:
        """Records one event; those that end a job are the supervisor's."""
        if isinstance(event, Heartbeat):
            self._beat = event
            return
        if isinstance(event, ProgressMade):
            first = self._progress is None
            self._progress, self._moved = event, True
            if first:  # that a job has begun to change its model is worth a write of its own
                await self.flush()
            return
        if isinstance(event, CurvePoint):
            self._points |= {(name, event.step): value for name, value in event.values.items()}
            if len(self._points) >= _POINTS:
                await self.flush()
            return
        await self.flush()
        if isinstance(event, PhaseStarted):
            await self._lease.write(progress.set_phase, event.phase)
        elif isinstance(event, Warned):
            await self._lease.write(progress.add_warning, event.code, event.message)
        elif isinstance(event, Measured):
            await self._lease.write(progress.add_measurements, event.moment, event.measurements)
        elif isinstance(event, Saved | Snapshotted | Resumed):
            await self._lease.write(progress.add_event, EventType(event.kind), {"step": event.step})
        elif isinstance(event, CostReported):
            await self._lease.write(progress.add_event, EventType.COST, event.model_dump(mode="json", exclude={"kind"}))

    async def flush(self) -> None:
        """Writes what has gathered."""
        async with self._turn:
            beat, self._beat = self._beat, None
            if beat is not None and beat.fraction is not None:
                await self._lease.write(progress.set_fraction, fraction=beat.fraction, eta_seconds=beat.eta_seconds)
            made, points = self._progress, self._points
            if made is None or not (self._moved or points):  # points before any progress wait for it
                return
            self._moved, self._points = False, {}
            await self._lease.write(
                progress.set_steps,
                step=made.step,
                steps=made.steps,
                eta_seconds=made.eta_seconds,
                points=[(step, name, value) for (name, step), value in points.items()],
            )

    async def keep_flushing(self) -> None:
        """Until cancelled, writes what has gathered about once a second."""
        while True:
            await asyncio.sleep(BATCH_SECONDS)
            await self.flush()
