"""Tunes a training while it runs: finds its learning rate, decides when to stop, and keeps the best state."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from core.schema.events import ChildEvent, StopReason, Trained, Tuned
from core.unlearning.forgetting_monitor import ForgettingMonitor, Reading
from core.unlearning.range_test import find_learning_rate
from core.unlearning.weight_copy import WeightCopy

CHECKS = 15
"""Readings of a training that uses all its updates."""
CONFIRMATIONS = 2
"""Consecutive readings within what is tolerated after which the training stops, or the rate begins to fall: a single
one may be luck."""
LEAST_FORGET_WEIGHT = 0.1
"""The smallest factor on the forget term. Without it, text that is forgotten already would be remembered again."""
FASTER = 1.5
"""A reading without harm that is far from the goal raises the learning rate by this factor. With the range test's rate
alone, a model of 135 million weights went a fifth of the way in 20 updates."""
FASTEST = 16.0
"""The learning rate is at most this multiple of the range test's."""
PATIENCE = 0.6
"""Share of the updates that may pass without a better state once the rate falls, which `wsd` lets it do after a while.
At a high rate the readings go up and down, and the best state comes late."""


class Tuner:
    """Tunes the training of `weights`, which has at most `steps` updates.

    The best state is the one whose worst reading is the least. All ranks call each method at the same time; their
    readings are the same, so they decide alike.
    """

    def __init__(
        self, monitor: ForgettingMonitor, weights: Sequence[nn.Parameter], steps: int, *, stable: range = range(0)
    ) -> None:
        """Made before the first update. In the steps `stable` the schedule keeps the full rate, before it lowers it."""
        self._monitor, self._steps, self._stable = monitor, steps, stable
        self._every = max(1, math.ceil(steps / CHECKS))
        self._best = WeightCopy(weights)
        self.best_step = 0
        """The update after which the best state was; 0: the model as it came."""
        self._best_reading = monitor.read()
        self._confirmations = 0
        """Readings in a row within what is tolerated."""
        self._alike = 0
        """Readings in a row in which forget text is like unseen text."""
        self.learning_rate = 0.0
        """The highest rate of the training's schedule."""
        self.range_test_rate = 0.0
        """The rate that the range test found."""
        self.forget_factor = 1.0
        """The factor on the forget term: the last reading's `forget` / max(1, `retain`, `unseen`), at least
        LEAST_FORGET_WEIGHT and at most 1. So the retain terms can repair harm that exceeds the distance left."""
        self.skipped = 0
        """Updates at the full rate that the training leaves out: once forget text is like unseen text, the rate falls.
        The training ends so much earlier."""
        self.stop_reason: StopReason | None = None
        """Why the training should stop before it has made all updates; None: it goes on."""

    def find_learning_rate(
        self, update: Callable[[int, float], None], recipe: float, report: Callable[[ChildEvent], None]
    ) -> None:
        """Sets `learning_rate` by a range test that begins below the recipe's rate, and restores the weights.

        `update(trial, rate)` makes one trial update; it may raise NonFiniteLoss.
        """
        test = find_learning_rate(update, self._monitor.movement, recipe=recipe, updates=self._steps)
        self._best.restore()
        self.learning_rate = self.range_test_rate = test.learning_rate
        report(Tuned(learning_rate=test.learning_rate, trials=test.trials, moved=test.moved))

    def check(self, step: int) -> None:
        """Reads the model after update `step` (from 1) if a reading is due, and decides whether to stop."""
        if step % self._every and step < self._steps - self.skipped:
            return
        reading = self._monitor.read()
        harm = max(1.0, reading.retain, reading.unseen)
        self.forget_factor = min(1.0, max(LEAST_FORGET_WEIGHT, reading.forget / harm))
        if reading.forget > 1 and max(reading.retain, reading.unseen) < 1:
            self.learning_rate = min(FASTER * self.learning_rate, FASTEST * self.range_test_rate)
        if reading.worst < self._best_reading.worst:
            self._best.take()
            self.best_step, self._best_reading = step, reading
        self._alike = self._alike + 1 if reading.forget <= 1 else 0
        if self._alike >= CONFIRMATIONS and step >= self._stable.start and not self.skipped:
            self.skipped = max(0, self._stable.stop - step)
        self._confirmations = self._confirmations + 1 if reading.worst <= 1 else 0
        if self._confirmations >= CONFIRMATIONS:
            self.stop_reason = "converged"
        elif math.isinf(reading.worst):
            self.diverge()
        elif step - max(self.best_step, self._stable.stop - self.skipped) >= PATIENCE * self._steps:
            self.stop_reason = "no_progress"

    def diverge(self) -> None:
        """Ends the training: a loss was no finite number."""
        self.stop_reason = "diverged"

    def finish(self, step: int, report: Callable[[ChildEvent], None]) -> None:
        """Sets the weights to the best state, after `step` updates."""
        if self.best_step != step:
            self._best.restore()
        reading = self._best_reading
        report(
            Trained(
                step=step,
                steps=self._steps - self.skipped,
                reason=self.stop_reason or "budget",
                best_step=self.best_step,
                forget=reading.forget,
                retain=reading.retain,
                unseen=reading.unseen,
            )
        )

    def state(self) -> tuple[list[Tensor], dict[str, Any]]:
        """The best state's tensors, in the weights' order, and the JSON values that `restore` continues from."""
        values = {
            "learning_rate": self.learning_rate,
            "range_test_rate": self.range_test_rate,
            "forget_factor": self.forget_factor,
            "skipped": self.skipped,
            "stop_reason": self.stop_reason,
            "best_step": self.best_step,
            "best_reading": asdict(self._best_reading),
            "confirmations": self._confirmations,
            "alike": self._alike,
        }
        return self._best.tensors, values

    def restore(self, values: dict[str, Any]) -> None:
        """Restores the values; the caller fills the best state's tensors."""
        self.learning_rate, self.stop_reason = values["learning_rate"], values["stop_reason"]
        self.range_test_rate, self.forget_factor = values["range_test_rate"], values["forget_factor"]
        self.best_step, self._best_reading = values["best_step"], Reading(**values["best_reading"])
        self._confirmations, self._alike = values["confirmations"], values["alike"]
        self.skipped = values["skipped"]
