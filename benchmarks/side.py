"""One side of a comparison, in a process of its own: `python -m benchmarks.side core|plain`.

It reads a case, one JSON line on standard input, and says `ready`; then it makes one update for each further line, and
says what that took and came to: so whoever started two of these can let them take turns.
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

Say = Callable[[dict[str, Any]], None]


def core(case: Case, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, observe: Observe) -> None:
    """This service's own trainer, called as a job calls it."""

    def report(event: ChildEvent) -> None:
        if isinstance(event, CurvePoint):
            observe(event.step, event.values)

    forget, retain = case.records()
    sets = TrainingSets(forget, [retain])
    train(model, tokenizer, case.method, {}, case.training(), sets, report=report, should_stop=lambda: False)


def plain(case: Case, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, observe: Observe) -> None:
    """What public trainers do."""
    forget, retain = case.records()
    training = case.training()
    train_plainly(
        model, tokenizer, case.method, training, forget, retain.records, batch=case.plain_batch, observe=observe
    )


SIDES = {"core": core, "plain": plain}


class Turns:
    """Waits for its turn between two updates, and says what each took: from the turn's beginning to the update's end.

    The first takes in everything before it too: tokens, the optimiser, what the original is asked for in advance.
    """

    def __init__(self, say: Say, device: torch.device, resident: int) -> None:
        self._say, self._device, self._resident = say, device, resident
        self._began = 0.0

    def begin(self) -> None:
        sys.stdin.readline()
        self._began = time.perf_counter()

    def observe(self, step: int, losses: dict[str, float]) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        seconds = time.perf_counter() - self._began
        self._say({"kind": "step", "step": step, "seconds": seconds, **_told(losses), **self._memory()})
        self.begin()

    def _memory(self) -> dict[str, int]:
        """Bytes at the highest: in all, and beyond what the process held before it had a model."""
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
            return {"peak": peak, "added": peak}
        peak = peak_bytes()
        return {"peak": peak, "added": peak - self._resident}


def _told(losses: dict[str, float]) -> dict[str, float]:
    """The loss, and how large its terms are: they have opposite signs, and their sum may come near 0."""
    return {"loss": losses["loss"], "terms": abs(losses["forget_loss"]) + abs(losses["retain_loss"])}


def measure(side: str, say: Say) -> None:
    case = Case(**json.loads(sys.stdin.readline()))
    if side == "core":
        configure_allocator()  # as a job's process does
    device = first_device()
    resident = psutil.Process().memory_info().rss
    model = build_model(case, device)
    tokenizer = build_tokenizer(case.vocabulary)
    _warm(model)
    say({"kind": "ready", "flops_per_token": flops_per_token(model), "peak_flops": peak_flops(device)})
    turns = Turns(say, device, resident)
    turns.begin()
    try:
        SIDES[side](case, model, tokenizer, turns.observe)
    except torch.OutOfMemoryError:
        say({"kind": "out_of_memory"})


def _warm(model: PreTrainedModel) -> None:
    """What libraries set up once, at a first pass, belongs to neither side."""
    ids = torch.arange(8, device=model.device)[None]
    model(input_ids=ids, use_cache=False).logits.float().logsumexp(-1).sum().backward()
    model.zero_grad()
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)


def main() -> None:
    # Libraries print: what they say goes where errors go, and the events have the output to themselves.
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    measure(sys.argv[1], lambda event: print(json.dumps(event), file=events))


if __name__ == "__main__":
    main()
