"""Changes of the forget term's gradient before the optimiser gets it: they serve every method and every optimiser."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.lm.forward import Forward
from core.schema.training import Training
from core.unlearning.accumulation import Accumulator
from core.unlearning.objective import StepValues, TermBatch
from core.unlearning.retain_gradient import RetainGradient
from core.unlearning.selective_gradient import SelectiveGradients
from core.unlearning.simulated_attacker import SimulatedAttacker
from core.unlearning.step_plan import StepPlan


class ForgetGradient:
    """An accumulator that computes the forget term's gradient apart from the retain terms', and changes it.

    `training` chooses among these, in this order: the gradient is made selective; that of an attacked model is added;
    in each weight tensor, its component against the retain terms' mean gradient is removed. Keeps the gradient aside
    until the retain terms' is computed, which takes the memory of one more gradient.
    """

    def __init__(
        self, accumulator: Accumulator, plan: StepPlan, model: PreTrainedModel, training: Training, steps: int
    ) -> None:
        """Gives the plan the attacker and the mean retain gradient, which snapshots hold.

        `steps`: the updates of the whole training.
        """
        defence = training.relearning_defence
        self._accumulator, self._plan = accumulator, plan
        weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._weights = weights
        self._retain_gradient = None
        if training.conflicting_gradients == "project":
            self._retain_gradient = plan.retain_gradient = RetainGradient(weights)
        self._selective = SelectiveGradients(model) if defence in ("selective", "both") else None
        self._attacker = None
        if defence in ("attacker", "both"):
            self._attacker = plan.attacker = SimulatedAttacker(
                weights,
                plan.forget,
                plan.forget_text,
                learning_rate=training.learning_rate,
                records_per_step=training.records_per_step,
                steps=steps,
                seed=training.seed,
            )

    def accumulate(self, forward: Forward, batches: Sequence[TermBatch], epoch: int) -> StepValues:
        """Sets the model's `.grad`, which must be empty, to the step's gradient; the first batch is the forget set's.

        Raises what the plain accumulator raises.
        """
        kept: dict[str, Tensor] = {}
        apart = self._selective is not None or self._retain_gradient is not None  # else all terms share their forwards
        together = batches[:1] if apart else batches
        values = self._accumulator.accumulate(forward, together, epoch)
        if self._selective is not None:
            self._selective.apply(_rows(batches[0]))
        self._keep(kept)
        attacked = None
        if self._attacker is not None:
            factor = math.sqrt(self._plan.forget_factor)
            attacked = self._attacker.gradient(forward, self._accumulator, epoch, factor=factor)
        if attacked is not None:
            values = _sum(values, attacked[0])
            if self._selective is not None:
                self._selective.apply(attacked[1])
            self._keep(kept)
        if apart and len(batches) > 1:
            values = _sum(values, self._accumulator.accumulate(forward, batches[1:], epoch))
        if self._retain_gradient is not None:
            self._retain_gradient.observe()
        self._add(kept)
        return values

    @torch.no_grad()
    def _keep(self, kept: dict[str, Tensor]) -> None:
        """Moves the present gradients into the sum."""
        for name, weight in self._weights.items():
            if weight.grad is not None and name in kept:
                kept[name] += weight.grad
            elif weight.grad is not None:
                kept[name] = weight.grad
            weight.grad = None

    @torch.no_grad()
    def _add(self, forget: dict[str, Tensor]) -> None:
        """Adds the forget gradients to the present ones, the retain terms'."""
        for name, gradient in forget.items():
            weight = self._weights[name]
            changed = gradient if self._retain_gradient is None else self._retain_gradient.project(name, gradient)
            if weight.grad is None:
                weight.grad = changed
            else:
                weight.grad += changed


def _rows(batch: TermBatch) -> int:
    """The scored tokens of a batch."""
    weighted, records = batch
    return int(torch.isin(weighted.tokenized.record.cpu(), torch.tensor(list(records))).sum())


def _sum(first: StepValues, second: StepValues) -> StepValues:
    return StepValues(first.loss + second.loss, first.terms | second.terms, first.tokens + second.tokens)
