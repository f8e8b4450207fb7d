"""One side of a comparison, in a process of its own: `python -m benchmarks.side core|plain`.

The process reads a case, a JSON line on standard input, and writes `ready`. Then it makes one update for each further
line and writes its seconds, losses and memory. So a parent process can let two sides take turns.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.case import Case
from benchmarks.model import build_model, build_tokenizer, flops_per_token, peak_flops
from benchmarks.plain import Observe
from benchmarks.plain import train as train_plainly
from core.lm.memory import configure_allocator, peak_bytes
from core.lm.model import device as first_device
from core.schema.events import ChildEvent, CurvePoint
from core.unlearning.step_plan import TrainingSets
from core.unlearning.trainer import train

Report = Callable[[dict[str, Any]], None]


def core(case: Case, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, observe: Observe) -> None:
    """This service's own trainer, called as a job calls it."""

    def report(event: ChildEvent) -> None:
        if isinstance(event, CurvePoint):
            observe(event.step, event.values)

    forget, retain = case.records()
    sets = TrainingSets(forget, [retain])
    train(model, tokenizer, case.method, {}, case.training(), sets, report=report, should_stop=lambda: False)


def plain(case: Case, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, observe: Observe) -> None:
    """The plain trainer."""
    forget, retain = case.records()
    training = case.training()
    train_plainly(
        model, tokenizer, case.method, training, forget, retain.records, batch=case.plain_batch, observe=observe
    )


SIDES = {"core": core, "plain": plain}


class Turns:
    """Waits between two updates for its turn, and reports each update, timed from its turn's beginning to its end.

    The first update includes everything before it: tokenizing, the optimizer, the reference model's outputs.
    """

    def __init__(self, report: Report, device: torch.device, resident: int) -> None:
        self._report, self._device, self._resident = report, device, resident
        self._began = 0.0

    def begin(self) -> None:
        sys.stdin.readline()
        self._began = time.perf_counter()

    def observe(self, step: int, losses: dict[str, float]) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        seconds = time.perf_counter() - self._began
        self._report({"kind": "step", "step": step, "seconds": seconds, **_loss_fields(losses), **self._memory()})
        self.begin()

    def _memory(self) -> dict[str, int]:
        """Returns the peak in bytes: in total, and beyond what the process held before it had a model."""
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
            return {"peak": peak, "added": peak}
        peak = peak_bytes()
        return {"peak": peak, "added": peak - self._resident}


def _loss_fields(losses: dict[str, float]) -> dict[str, float]:
    """Returns the loss, and the sum of its absolute terms: they have opposite signs, so the loss may be near 0."""
    return {"loss": losses["loss"], "terms": abs(losses["forget_loss"]) + abs(losses["retain_loss"])}


def measure(side: str, report: Report) -> None:
    case = Case(**json.loads(sys.stdin.readline()))
    if side == "core":
        configure_allocator()  # as a job's process does
    device = first_device()
    resident = psutil.Process().memory_info().rss
    model = build_model(case, device)
    tokenizer = build_tokenizer(case.vocabulary)
    _warm_up(model)
    report({"kind": "ready", "flops_per_token": flops_per_token(model), "peak_flops": peak_flops(device)})
    turns = Turns(report, device, resident)
    turns.begin()
    try:
        SIDES[side](case, model, tokenizer, turns.observe)
    except torch.OutOfMemoryError:
        report({"kind": "out_of_memory"})


def _warm_up(model: PreTrainedModel) -> None:
    """Runs a first pass, so that what libraries set up once counts for neither side."""
    ids = torch.arange(8, device=model.device)[None]
    model(input_ids=ids, use_cache=False).logits.float().logsumexp(-1).sum().backward()
    model.zero_grad()
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)


def main() -> None:
    # libraries print: their output goes to standard error, so that standard output holds events only
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    measure(sys.argv[1], lambda event: print(json.dumps(event), file=events))


if __name__ == "__main__":
    main()
