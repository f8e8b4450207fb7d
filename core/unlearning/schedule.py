"""The number of updates, and the learning rate schedules."""

import math

from core.schema.training import Scheduler

STABLE = 0.6
"""The share of the updates after the warm-up in which `wsd` keeps the full rate. A tuned training may go on to the rest
earlier."""


def steps_per_epoch(records: int, per_step: int) -> int:
    """The updates of one pass over the forget set, of at most `per_step` records each."""
    return -(-records // per_step)


def stable_steps(steps: int, scheduler: Scheduler, warmup: float) -> range:
    """The steps from the end of the warm-up to the one at which the rate begins to fall; none but for `wsd`."""
    rising = math.ceil(warmup * steps)
    return range(rising, rising + math.floor(STABLE * (steps - rising))) if scheduler == "wsd" else range(0)


def rate_factor(step: int, steps: int, scheduler: Scheduler, warmup: float) -> float:
    """The factor on the learning rate at `step` of `steps` (from 0); in (0, 1], so that no update is lost.

    It rises linearly over the first ceil(warmup * steps) updates, the last of which has the full rate. Then, except for
    `constant`, it falls towards 0, which one more update after the last would have; for `wsd` it stays for a while.
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    left = (steps - step) / (steps - rising)
    if scheduler == "linear":
        return left
    if scheduler == "wsd":
        return min(1.0, left / (1 - STABLE))
    if scheduler == "cosine":
        return 0.5 * (1 - math.cos(math.pi * left))
    return 1.0
