"""The phases of one job: said as they begin, and their time and work booked."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.lm.memory import release_free_memory
from core.pipeline.cost import JobCost
from core.pipeline.job_progress import JobProgress
from core.schema.events import ChildEvent, PhaseStarted
from core.schema.jobs import Phase
from core.unlearning.trainer import JobCancelled

BEAT_SECONDS = 2.0

Say = Callable[[ChildEvent], None]


class Phases:
    """One after the other; a wish to stop is heard between them, and wherever else `heard` is asked."""

    def __init__(self, say: Say, cancelled: Callable[[], bool], *, began: float, progress: JobProgress) -> None:
        """`began` is the monotonic time at which `loading` did."""
        self._say, self._cancelled = say, cancelled
        self.progress = progress
        self._beat = time.monotonic() + BEAT_SECONDS
        self.expenses = JobCost(began=began)

    def heard(self) -> None:
        """Gives a sign of life every few seconds, and raises JobCancelled once the job is to be cancelled."""
        self.beat()
        if self._cancelled():
            raise JobCancelled

    def beat(self) -> None:
        """Says that the job lives and how far it is, every few seconds however often it is asked."""
        if time.monotonic() >= self._beat:
            self._beat = time.monotonic() + BEAT_SECONDS
            self._say(self.progress.beat())

    @contextmanager
    def during(self, name: Phase) -> Iterator[None]:
        """`name` until something else begins; whose time is nobody's counts for neither."""
        self.heard()
        release_free_memory()
        self.expenses.turn_to(name)
        self.progress.turn_to(name)
        if name != "loading":  # which was said before torch was imported
            self._say(PhaseStarted(phase=name))
        try:
            yield
        finally:
            self.expenses.book()

    def turn_to(self, name: Phase) -> None:
        """Goes on in another phase, unless it is that one already."""
        if name != self.expenses.phase:
            self.expenses.book()
            self.expenses.turn_to(name)
            self.progress.turn_to(name)
            self._say(PhaseStarted(phase=name))
