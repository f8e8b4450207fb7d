"""The records of each step, drawn by the seed alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from core.unlearning.schedule import steps_per_epoch


def forget_steps(records: int, per_step: int, epochs: int, seed: int) -> Iterator[tuple[int, list[int]]]:
    """(epoch, forget records) of each step: every epoch shuffled anew, in nearly equal steps of at most `per_step`."""
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(records)
        for step in np.array_split(order, steps_per_epoch(records, per_step)):
            yield epoch, step.tolist()


class Cycle:
    """Draws records of one set without end: shuffles them, goes through them, shuffles again.

    `number` gives each set of a job its own random stream.
    """

    def __init__(self, records: int, seed: int, number: int) -> None:
        self._records = records
        self._random = np.random.default_rng([seed, number, 1])
        self._waiting: list[int] = []

    def draw(self, count: int) -> list[int]:
        """The next `count` records (all of them where the set has no more), each once."""
        count = min(count, self._records)
        drawn: list[int] = []
        while len(drawn) < count:
            if not self._waiting:
                taken = set(drawn)
                order = self._random.permutation(self._records).tolist()
                # a new round begins with records that this draw does not hold yet
                self._waiting = sorted(order, key=lambda record: record in taken)
            drawn.append(self._waiting.pop(0))
        return drawn

    def state(self) -> dict[str, Any]:
        """The state from which `restore` continues with the same draws; JSON."""
        return {"random": self._random.bit_generator.state, "waiting": list(self._waiting)}

    def restore(self, state: dict[str, Any]) -> None:
        self._random.bit_generator.state = state["random"]
        self._waiting = list(state["waiting"])
