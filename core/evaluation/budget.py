"""The time limit of one measurement, and the record of what its limits left out."""

import math
import time
from collections.abc import Callable
from typing import Literal

from core.schema.evaluation import CutShort


class Budget:
    """The time limit of one measurement. Use it last: which records it leaves out depends on the machine's speed.

    A limit on records leaves out the same records on every machine. `check_stop` raises where the job is to stop.
    `cut_short` lists what the limits left out.
    """

    def __init__(self, measurement: str, *, seconds: float = math.inf, check_stop: Callable[[], None]) -> None:
        self._measurement, self._check_stop = measurement, check_stop
        self._deadline = time.monotonic() + seconds
        self.cut_short: list[CutShort] = []

    def expired(self) -> bool:
        """Whether the time is up; asked between batches. Raises what `check_stop` raises."""
        self._check_stop()
        return time.monotonic() >= self._deadline

    def note_left_out(self, name: str, *, done: int, of: int, reason: Literal["records", "seconds"]) -> None:
        """Notes that `done` of `of` records of a set, or steps of a curve, were measured; nothing where that is all."""
        if done < of:
            self.cut_short.append(CutShort(measurement=self._measurement, what=name, done=done, of=of, reason=reason))
