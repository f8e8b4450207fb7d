"""What a job takes: booked on its phases while it goes on."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from core.lm.flops import METER, ComputeUsage, ModelFlops
from core.lm.memory import peak_bytes
from core.lm.process_group import Ranks
from core.schema.jobs import Phase

MEASURING = ("measuring_before", "measuring_after", "attacking")


class JobCost:
    """Seconds, tokens and model FLOPs of each phase; what is between two phases is nobody's."""

    def __init__(self, *, began: float) -> None:
        """`began` is the monotonic time at which `loading` did."""
        self.phase: Phase = "loading"
        self.model: ModelFlops | None = None
        """Of the model that the job is about, once it is known."""
        self._since, self._read = began, METER.reading
        self._seconds: dict[str, float] = {}
        self._spent: dict[str, ComputeUsage] = {}
        self.book()

    def turn_to(self, phase: Phase) -> None:
        """What is from here to the next `book` is this phase's."""
        self.phase, self._since, self._read = phase, time.monotonic(), METER.reading

    def book(self) -> None:
        """Puts what was since `turn_to` down to the phase; once."""
        now, read = time.monotonic(), METER.reading
        self._seconds[self.phase] = self._seconds.get(self.phase, 0.0) + now - self._since
        self._spent[self.phase] = self._spent.get(self.phase, ComputeUsage()) + (read - self._read)

    def fields(self, training_tokens: int | None) -> dict[str, Any]:
        """Those of `Expense` that follow; `training_tokens` None: nobody knows on how many the model was trained."""
        speeds = {"unlearning": self._speed(["unlearning"]), "measuring": self._speed(MEASURING)}
        passed = {name: one for name, one in self._spent.items() if one.tokens}
        anew = None if self.model is None or training_tokens is None else self.model.retraining(training_tokens)
        return {
            "seconds": {name: round(value, 3) for name, value in self._seconds.items()},
            "peak_host_bytes": peak_bytes(),
            "peak_device_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
            "passed": {name: one.tokens for name, one in passed.items()},
            "flops": {name: one.flops for name, one in passed.items()},
            "tokens_per_second": {name: round(speed, 1) for name, speed in speeds.items() if speed},
            "retraining_flops": anew,
            "retraining_share": None if anew is None else sum(one.flops for one in passed.values()) / anew,
        }

    def _speed(self, phases: Sequence[str]) -> float:
        """Tokens per second over some phases; 0 where nothing passed."""
        tokens = sum(self._spent[name].tokens for name in phases if name in self._spent)
        return tokens / sum(self._seconds[name] for name in phases if name in self._seconds) if tokens else 0.0


def meter_other_ranks(company: Ranks, began: ComputeUsage) -> None:
    """Counts what the other ranks have put through their models since they all read `began`. All call it."""
    own = METER.reading - began
    whole = company.all_reduce(torch.tensor([own.tokens, own.flops], dtype=torch.float64)).tolist()
    METER.count(ComputeUsage(round(whole[0]), whole[1]) - own)
