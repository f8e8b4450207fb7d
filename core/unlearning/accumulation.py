"""A step's gradient, accumulated over micro-batches that are halved once where they do not fit in memory."""

import gc
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from core.lm.errors import CoreError, out_of_memory
from core.lm.forward import Forward
from core.schema.events import ChildEvent, Warned
from core.unlearning.objective import StepValues, TermBatch, accumulate_gradient


class Accumulator(Protocol):
    """Computes the gradient of an update."""

    def accumulate(self, forward: Forward, batches: Sequence[TermBatch], epoch: int) -> StepValues:
        """Sets the model's `.grad`, which must be empty, to the gradient of these terms."""
        ...


class GradientAccumulator:
    """Computes gradients in micro-batches of `micro_batch_tokens`, and of half as many after one was too large."""

    def __init__(self, micro_batch_tokens: int, report: Callable[[ChildEvent], None]) -> None:
        self._tokens, self._report = micro_batch_tokens, report
        self._halved = False

    def accumulate(self, forward: Forward, batches: Sequence[TermBatch], epoch: int) -> StepValues:
        """Sets the model's `.grad`, which must be empty, to the step's gradient.

        Out of memory, drops the partial gradient and computes the step again: the update is the same. Raises CoreError
        `out_of_memory` where half the micro-batch does not fit either. Where ranks share the step, it is not computed
        again, since the other ranks do not know of the error: it is raised as it is.
        """
        while True:
            values = self._try_once(forward, batches, epoch)
            if values is not None:
                return values
            # outside the except block: the error held the step's frames, and they its activations
            forward.model.zero_grad()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if self._halved:
                raise CoreError(
                    "out_of_memory",
                    f"a step does not fit in memory even in micro-batches of {self._tokens} tokens: lower"
                    " training.max_length, or use a larger worker",
                )
            self._halved, self._tokens = True, max(1, self._tokens // 2)
            message = f"a step did not fit in memory: from now on micro-batches have at most {self._tokens} tokens"
            self._report(Warned(code="micro_batch_halved", message=f"{message}; the updates stay the same"))

    def _try_once(self, forward: Forward, batches: Sequence[TermBatch], epoch: int) -> StepValues | None:
        """The step's values; None where memory ran out."""
        try:
            return accumulate_gradient(
                forward, batches, epoch=epoch, max_tokens=self._tokens, backward=torch.Tensor.backward
            )
        except Exception as error:
            if not out_of_memory(error) or forward.ranks.count > 1:
                raise
            return None
