"""Defences against relearning, around the gradient of an update: they serve every method and every optimiser."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.lm.forward import Forward
from core.schema.training import Training
from core.unlearning.accumulation import Accumulator
from core.unlearning.objective import StepValues, TermBatch
from core.unlearning.selective_gradient import SelectiveGradients
from core.unlearning.simulated_attacker import SimulatedAttacker
from core.unlearning.step_plan import StepPlan


class RelearningDefence:
    """An accumulator that makes the forget gradient selective, and adds that of an attacked model.

    Keeps the gradients of the parts aside until all are computed, which takes the memory of one more gradient.
    """

    def __init__(
        self, accumulator: Accumulator, plan: StepPlan, model: PreTrainedModel, training: Training, steps: int
    ) -> None:
        """Gives the plan the attacker whose state belongs to its own. `steps`: the updates of the whole training."""
        defence = training.relearning_defence
        self._accumulator, self._plan = accumulator, plan
        weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._weights = list(weights.values())
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
        kept: list[Tensor | None] = [None] * len(self._weights)
        parts = [batches] if self._selective is None else [batches[:1], batches[1:]]
        values = self._accumulator.accumulate(forward, parts[0], epoch)
        if self._selective is not None:
            self._selective.apply(_rows(batches[0]))
        self._keep(kept)
        for part in filter(None, parts[1:]):
            values = _sum(values, self._accumulator.accumulate(forward, part, epoch))
            self._keep(kept)
        attacked = None
        if self._attacker is not None:
            factor = self._plan.forget_factor
            attacked = self._attacker.gradient(forward, self._accumulator, epoch, factor=factor)
        if attacked is not None:
            values = _sum(values, attacked[0])
            if self._selective is not None:
                self._selective.apply(attacked[1])
            self._keep(kept)
        for weight, gradient in zip(self._weights, kept, strict=True):
            weight.grad = gradient
        return values

    @torch.no_grad()
    def _keep(self, kept: list[Tensor | None]) -> None:
        """Moves the present gradients into the sum."""
        for number, weight in enumerate(self._weights):
            gradient, sum_so_far = weight.grad, kept[number]
            if gradient is not None and sum_so_far is not None:
                sum_so_far += gradient
            elif gradient is not None:
                kept[number] = gradient
            weight.grad = None


def _rows(batch: TermBatch) -> int:
    """The scored tokens of a batch."""
    weighted, records = batch
    return int(torch.isin(weighted.tokenized.record.cpu(), torch.tensor(list(records))).sum())


def _sum(first: StepValues, second: StepValues) -> StepValues:
    return StepValues(first.loss + second.loss, first.terms | second.terms, first.tokens + second.tokens)
