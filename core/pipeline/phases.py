"""The phases of one job: their events, their cost, and the checks for cancelling."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.lm.memory import release_free_memory
from core.pipeline.cost import CostMeter
from core.pipeline.job_progress import JobProgress
from core.schema.events import ChildEvent, PhaseStarted
from core.schema.jobs import Phase
from core.unlearning.trainer import JobCancelled

HEARTBEAT_SECONDS = 2.0

Emit = Callable[[ChildEvent], None]
"""Sends an event to the worker."""


class Phases:
    """Runs phases one after the other; a cancelled job stops between them, and wherever `check_cancelled` is called."""

    def __init__(self, emit: Emit, cancelled: Callable[[], bool], *, began: float, progress: JobProgress) -> None:
        """`began` is the monotonic time at which the phase `loading` began."""
        self._emit, self._cancelled = emit, cancelled
        self.progress = progress
        self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
        self.cost = CostMeter(began=began)

    def check_cancelled(self) -> None:
        """Sends a heartbeat if one is due. Raises JobCancelled once the job is to be cancelled."""
        self.heartbeat_if_due()
        if self._cancelled():
            raise JobCancelled

    def heartbeat_if_due(self) -> None:
        """Sends a heartbeat with the job's progress, at most every HEARTBEAT_SECONDS however often it is called."""
        if time.monotonic() >= self._next_heartbeat:
            self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
            self._emit(self.progress.heartbeat())

    @contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """Runs the block as `phase`, until `switch_to` another. Time between two blocks is charged to no phase."""
        self.check_cancelled()
        release_free_memory()
        self.cost.start(phase)
        self.progress.start(phase)
        if phase != "loading":  # whose event was sent before torch was imported
            self._emit(PhaseStarted(phase=phase))
        try:
            yield
        finally:
            self.cost.stop()

    def switch_to(self, phase: Phase) -> None:
        """Continues in another phase, unless it is the present one."""
        if phase != self.cost.phase:
            self.cost.stop()
            self.cost.start(phase)
            self.progress.start(phase)
            self._emit(PhaseStarted(phase=phase))
