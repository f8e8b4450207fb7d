"""When a training takes a snapshot."""

import time

from core.lm.process_group import SINGLE_RANK, Ranks
from core.lm.snapshots import Snapshots
from core.unlearning.training_state import TrainingState

_SECONDS = 300.0
"""A snapshot is due after this time however few the updates, which bounds the work that an interruption can lose."""
_SHARE = 20
"""Writing takes at most one part in this many of the time: where writing is slow, snapshots are rarer."""


class SnapshotPolicy:
    """Takes a snapshot after `every` updates or five minutes, whichever is sooner; 0: only when asked.

    Without `snapshots` it takes none.
    """

    def __init__(
        self, snapshots: Snapshots | None, state: TrainingState, every: int, ranks: Ranks = SINGLE_RANK
    ) -> None:
        self._snapshots, self._state, self._every, self._ranks = snapshots, state, every, ranks
        self._step = 0
        """The newest snapshot's."""
        self._write_seconds = 0.0
        self._last = time.monotonic()

    def resume(self) -> int:
        """Restores the newest snapshot and returns its step; 0 where there is none."""
        newest = self._snapshots.newest() if self._snapshots else None
        if newest is not None:
            self._state.restore(newest)
            self._step = self._state.step
        self._last = time.monotonic()
        return self._step

    def snapshot_if_due(self) -> None:
        """Takes a snapshot if one is due. Called after every update."""
        since = time.monotonic() - self._last
        due = self._state.step - self._step >= self._every or since >= _SECONDS
        # clocks differ between ranks: the first rank's decides
        if (
            self._every
            and self._snapshots
            and self._ranks.broadcast_flag(due and since >= _SHARE * self._write_seconds)
        ):
            self.snapshot()

    def snapshot(self) -> int:
        """Takes a snapshot if there are updates since the last one; returns the step of the newest, 0 without one."""
        if self._snapshots is not None and self._state.step > self._step:
            began = time.monotonic()
            written = self._snapshots.write(self._state.step, *self._state.describe())
            self._last = time.monotonic()
            # where the disk is full, the next attempt is in five minutes, not after every update
            self._write_seconds = self._last - began if written else _SECONDS / _SHARE
            if written:
                self._step = self._state.step
        return self._step
