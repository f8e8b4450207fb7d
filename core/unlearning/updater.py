"""One update of the weights: gradient, clipping, optimiser step."""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from core.lm.forward import Forward
from core.lm.sharding import full_tensor
from core.unlearning.accumulation import Accumulator
from core.unlearning.objective import StepValues
from core.unlearning.optimizer import set_learning_rate
from core.unlearning.step_plan import StepPlan


class NonFiniteLoss(Exception):
    """The loss of an update, or its gradient, was no finite number; the weights are as they were before it."""


class Updater:
    """Makes updates of a plan with one optimiser."""

    def __init__(
        self,
        forward: Forward,
        plan: StepPlan,
        optimizer: Optimizer,
        weights: Sequence[nn.Parameter],
        *,
        accumulator: Accumulator,
        clip: float,
        steps: int,
    ) -> None:
        """`weights` are the trained ones, `clip` their gradient's largest norm, `steps` all updates of the training."""
        self._forward, self._plan, self._optimizer, self._weights = forward, plan, optimizer, weights
        self._accumulator, self._clip, self._steps = accumulator, clip, steps

    def update(self, step: int, epoch: int, records: list[int], rate: float) -> StepValues:
        """Makes the update `step` (from 0) on these forget records. Raises NonFiniteLoss."""
        set_learning_rate(self._optimizer, rate)
        self._plan.update_targets(records)
        batches = self._plan.term_batches(step, self._steps, records)
        values = self._accumulator.accumulate(self._forward, batches, epoch)
        norm = full_tensor(torch.nn.utils.clip_grad_norm_(self._weights, self._clip))
        finite = math.isfinite(values.loss) and bool(torch.isfinite(norm))
        if finite:
            self._optimizer.step()
        self._optimizer.zero_grad()
        if not finite:
            raise NonFiniteLoss
        return values
