"""When a training's position is written down."""

import time

from core.lm.process_group import SINGLE_RANK, Ranks
from core.lm.snapshots import Snapshots
from core.unlearning.training_state import TrainingState

_SECONDS = 300.0
"""However many updates lie between two snapshots, no more work than this is at stake."""
_SHARE = 20
"""Writing takes one part in so many of the time at most: where it is slow, snapshots are rarer."""


class SnapshotPolicy:
    """`every` updates or five minutes, whichever is sooner; 0: only when asked. Without snapshots: never."""

    def __init__(
        self, snapshots: Snapshots | None, position: TrainingState, every: int, ranks: Ranks = SINGLE_RANK
    ) -> None:
        self._snapshots, self._position, self._every, self._ranks = snapshots, position, every, ranks
        self._kept = 0
        self._cost = 0.0
        self._last = time.monotonic()

    def resume(self) -> int:
        """Goes to the newest snapshot and returns its step; 0 where there is none."""
        newest = self._snapshots.newest() if self._snapshots else None
        if newest is not None:
            self._position.restore(newest)
            self._kept = self._position.step
        self._last = time.monotonic()
        return self._kept

    def keep_if_due(self) -> None:
        """After an update: takes a snapshot if it is time for one."""
        since = time.monotonic() - self._last
        due = self._position.step - self._kept >= self._every or since >= _SECONDS
        # clocks differ: the first rank's counts
        if self._every and self._snapshots and self._ranks.broadcast_flag(due and since >= _SHARE * self._cost):
            self.keep()

    def keep(self) -> int:
        """Takes a snapshot where something has been done since the last; returns the step of the newest there is."""
        if self._snapshots is not None and self._position.step > self._kept:
            began = time.monotonic()
            written = self._snapshots.write(self._position.step, *self._position.describe())
            self._last = time.monotonic()
            # a disk that is full now is tried again in five minutes, not after every update
            self._cost = self._last - began if written else _SECONDS / _SHARE
            if written:
                self._kept = self._position.step
        return self._kept
