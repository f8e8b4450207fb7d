"""The learning rate range test (Smith, arXiv 1506.01186): how far do a few updates move the model?"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from core.unlearning.updater import NonFiniteLoss

GROWTH = 1.6
"""The factor from one trial update's learning rate to the next one's."""
LOWEST, HIGHEST = 1 / 16, 64.0
"""The first and the highest trial rate, as multiples of the recipe's."""
MOVED = 0.1
"""The share of the way to unseen text's loss after which the test ends."""
HARM = 0.1
"""Nats per token by which held-out retain text may become less likely before the test ends."""
FASTEST, SLOWEST, PER_UPDATE = 5.0, 16.0, 0.12
"""Updates in which the training goes as far as the test: a share of all its updates, within these bounds. On the demo's
people (100 updates), 6 cost 13 % of retain perplexity, 12 cost 5 %, and 24 ended before the text was forgotten. With a
defence against relearning (270 updates), 12 cost 6 %, 24 and 32 cost 4 %. Without one, 32 forget too little (loss AUC
0.60)."""


@dataclass(frozen=True)
class RangeTest:
    """The learning rate that a range test found, and the trial updates that it took."""

    learning_rate: float
    trials: int
    moved: float
    """The share of the way to unseen text's loss that the trials went."""


def find_learning_rate(
    update: Callable[[int, float], None], movement: Callable[[], tuple[float, float]], *, recipe: float, updates: int
) -> RangeTest:
    """Makes trial updates at rising rates until the model has moved, and returns the rate for `updates` updates.

    `update(trial, rate)` makes one update, or raises NonFiniteLoss; `movement()` returns the share of the way moved and
    the rise of the retain loss. An adaptive optimiser moves the weights by about the sum of its learning rates,
    whatever the model's size and the gradient's. So the sum of the trial rates is divided by the number of updates in
    which the training may move the model as far. The caller restores the weights.
    """
    total, rate, trials, moved = 0.0, LOWEST * recipe, 0, 0.0
    while rate <= HIGHEST * recipe:
        try:
            update(trials, rate)
        except NonFiniteLoss:
            break
        total, trials = total + rate, trials + 1
        moved, rise = movement()
        if not math.isfinite(moved + rise) or moved >= MOVED or rise >= HARM:
            break
        rate *= GROWTH
    pace = min(SLOWEST, max(FASTEST, PER_UPDATE * updates))
    return RangeTest(learning_rate=float(f"{max(total, LOWEST * recipe) / pace:.2g}"), trials=trials, moved=moved)
