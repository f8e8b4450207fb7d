"""The difference between a model's weights before and after training: the share that changed, and rewriting by it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from core.lm import adapter
from core.lm.model import stored_dtype
from core.lm.process_group import SINGLE_RANK, Ranks
from core.lm.sharding import local_part

SAMPLE = 1 << 20
"""Weights that are kept of a larger model to estimate the changed share."""
_SPLIT = 1 << 20
"""Weights that are cast to the stored dtype at a time."""
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By bytes, the integer dtype that a float's bits are read as."""


@dataclass(frozen=True, eq=False)
class _Original:
    """A weight before training: every `stride`-th value, and a checksum of all bits, which any single change alters."""

    weight: nn.Parameter
    values: Tensor
    checksum: int


class WeightDiff:
    """The trained weights as they were before training, in the dtype of the checkpoint, to compare with.

    A copy would be as large as the model: of more than SAMPLE weights it keeps that many, evenly spread, to estimate
    the changed share; checksums tell whether any weight changed at all. `keep_all` keeps the copy, on the CPU, which
    `rewrite` needs. Made once the trained weights are selected. Of a model with an adapter it keeps nothing, since the
    base stays as it was. Each rank keeps its part of a sharded model.
    """

    def __init__(self, model: PreTrainedModel, ranks: Ranks = SINGLE_RANK, *, keep_all: bool = False) -> None:
        self._ranks = ranks
        no_adapter = not adapter.has_adapter(model)
        trained = [weight for weight in model.parameters() if weight.requires_grad and no_adapter]
        count = sum(local_part(weight).numel() for weight in trained)
        self._stride = 1 if keep_all else max(1, math.ceil(count / SAMPLE))
        self._originals = [
            _Original(weight, self._sample(weight, model), _checksum(weight, model)) for weight in trained
        ]
        self._model_weights: int = sum(
            weight.numel() for weight in model.parameters() if no_adapter or not weight.requires_grad
        )

    def changed_share(self, model: PreTrainedModel) -> float:
        """The share, 0 to 1, of the model's weights that a full checkpoint written now would hold differently.

        An estimate for a sampled model, but 0 only where no weight at all differs.
        """
        changed = 0
        for original in self._originals:
            estimate = int((original.values != self._sample(original.weight, model)).sum()) * self._stride
            at_most = local_part(original.weight).numel()
            changed += min(estimate, at_most) or int(original.checksum != _checksum(original.weight, model))
        if adapter.has_adapter(model):
            for base, merged in adapter.merged_weights(model):
                changed += _count_different(base.to(stored_dtype(model)), merged.to(stored_dtype(model)))
        return float(self._ranks.all_reduce(torch.tensor([changed]))) / self._model_weights

    @torch.no_grad()
    def rewrite(self, model: PreTrainedModel, final_weight: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Sets each trained weight to final_weight(trained, original), which is linear in their difference."""
        for original in self._originals:
            trained = local_part(original.weight)
            trained.copy_(final_weight(trained, original.values.to(trained).view_as(trained)))
        if adapter.has_adapter(model):
            adapter.scale(model, float(final_weight(torch.ones(()), torch.zeros(()))))

    def _sample(self, weight: Tensor, model: PreTrainedModel) -> Tensor:
        values = local_part(weight.detach()).flatten()[:: self._stride]
        return values.to("cpu", stored_dtype(model), copy=True)


def _checksum(weight: Tensor, model: PreTrainedModel) -> int:
    """The sum of the stored values' bits, read as integers."""
    dtype = stored_dtype(model)
    splits = torch.split(local_part(weight.detach()).flatten(), _SPLIT)
    return sum(int(split.to(dtype).view(_INTEGERS[dtype.itemsize]).sum(dtype=torch.int64)) for split in splits)


def _count_different(weight: Tensor, other: Tensor) -> int:
    return int((local_part(weight) != local_part(other)).sum())
