"""The cost of a job: seconds, tokens and FLOPs, counted by phase while it runs."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from core.lm.flops import METER, ComputeUsage, ModelFlops
from core.lm.memory import peak_bytes
from core.lm.process_group import Ranks
from core.schema.jobs import MEASURING_PHASES, Phase


class CostMeter:
    """Seconds, tokens and model FLOPs of each phase. Time between two phases is charged to no phase."""

    def __init__(self, *, began: float) -> None:
        """`began` is the monotonic time at which the phase `loading` began."""
        self.phase: Phase = "loading"
        self.model: ModelFlops | None = None
        """FLOPs of the job's model, once it is loaded."""
        self._started, self._start_usage = began, METER.reading
        self._seconds: dict[str, float] = {}
        self._usage: dict[str, ComputeUsage] = {}
        self.stop()

    def start(self, phase: Phase) -> None:
        """Starts counting for a phase."""
        self.phase, self._started, self._start_usage = phase, time.monotonic(), METER.reading

    def stop(self) -> None:
        """Charges time and compute since `start` to the phase. Called once for each `start`."""
        now, usage = time.monotonic(), METER.reading
        self._seconds[self.phase] = self._seconds.get(self.phase, 0.0) + now - self._started
        self._usage[self.phase] = self._usage.get(self.phase, ComputeUsage()) + (usage - self._start_usage)

    def fields(self, training_tokens: int | None) -> dict[str, Any]:
        """The fields of the `cost` event. `training_tokens` is the size of the model's training set; None: unknown."""
        speeds = {"unlearning": self._speed(["unlearning"]), "measuring": self._speed(MEASURING_PHASES)}
        passed = {name: usage for name, usage in self._usage.items() if usage.tokens}
        retraining_flops = (
            None if self.model is None or training_tokens is None else self.model.retraining(training_tokens)
        )
        return {
            "seconds": {name: round(value, 3) for name, value in self._seconds.items()},
            "peak_host_bytes": peak_bytes(),
            "peak_device_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
            "passed": {name: usage.tokens for name, usage in passed.items()},
            "flops": {name: usage.flops for name, usage in passed.items()},
            "tokens_per_second": {name: round(speed, 1) for name, speed in speeds.items() if speed},
            "retraining_flops": retraining_flops,
            "retraining_share": (
                None if retraining_flops is None else sum(usage.flops for usage in passed.values()) / retraining_flops
            ),
        }

    def _speed(self, phases: Sequence[str]) -> float:
        """Tokens per second over the given phases; 0 where no token passed."""
        tokens = sum(self._usage[name].tokens for name in phases if name in self._usage)
        return tokens / sum(self._seconds[name] for name in phases if name in self._seconds) if tokens else 0.0


def meter_other_ranks(ranks: Ranks, began: ComputeUsage) -> None:
    """Adds to METER what the other ranks computed since each read `began`. All ranks call it."""
    own = METER.reading - began
    tokens, flops = ranks.all_reduce(torch.tensor([own.tokens, own.flops], dtype=torch.float64)).tolist()
    METER.count(ComputeUsage(round(tokens), flops) - own)
