"""How much of the model a job has changed."""

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
_PIECE = 1 << 20
_WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class _Before:
    """What is kept of a weight: every `stride`-th value, and the sum of all values' bits, which any change moves."""

    weight: nn.Parameter
    values: Tensor
    bits: int


class WeightDiff:
    """The weights that are trained, as they were, in the dtype that they are stored in.

    Of a model with more than SAMPLE of them, so many spread evenly over it tell the share that changed, and sums of
    bits whether any did: a copy would be as large as the model. `whole` keeps the copy, on the CPU, which `finish`
    needs. Made once it is chosen what is trained; an adapter's base tells by itself. Each rank keeps what it
    holds of a sharded model.
    """

    def __init__(self, model: PreTrainedModel, ranks: Ranks = SINGLE_RANK, *, whole: bool = False) -> None:
        self._ranks = ranks
        own = not adapter.has_adapter(model)
        trained = [weight for weight in model.parameters() if weight.requires_grad and own]
        count = sum(local_part(weight).numel() for weight in trained)
        self._stride = 1 if whole else max(1, math.ceil(count / SAMPLE))
        self._before = [_Before(weight, self._sampled(weight, model), _bits(weight, model)) for weight in trained]
        self._all: int = sum(weight.numel() for weight in model.parameters() if own or not weight.requires_grad)

    def changed_share(self, model: PreTrainedModel) -> float:
        """The share, 0 to 1, of the model's weights that a whole checkpoint written now would hold differently; 0 only
        where it would hold none differently."""
        changed = 0
        for before in self._before:
            differ = int((before.values != self._sampled(before.weight, model)).sum()) * self._stride
            changed += min(differ, local_part(before.weight).numel()) or int(before.bits != _bits(before.weight, model))
        if adapter.has_adapter(model):
            for before_merging, merged in adapter.merged_weights(model):
                changed += _differ(before_merging.to(stored_dtype(model)), merged.to(stored_dtype(model)))
        return float(self._ranks.all_reduce(torch.tensor([changed]))) / self._all

    @torch.no_grad()
    def finish(self, model: PreTrainedModel, finish: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Sets each trained weight to finish(weight, what it was), which is linear in their difference."""
        for before in self._before:
            held = local_part(before.weight)
            held.copy_(finish(held, before.values.to(held).view_as(held)))
        if adapter.has_adapter(model):
            adapter.scale(model, float(finish(torch.ones(()), torch.zeros(()))))

    def _sampled(self, weight: Tensor, model: PreTrainedModel) -> Tensor:
        values = local_part(weight.detach()).flatten()[:: self._stride]
        return values.to("cpu", stored_dtype(model), copy=True)


def _bits(weight: Tensor, model: PreTrainedModel) -> int:
    """The sum of the stored values' bits, read as whole numbers."""
    dtype = stored_dtype(model)
    pieces = torch.split(local_part(weight.detach()).flatten(), _PIECE)
    return sum(int(piece.to(dtype).view(_WHOLE[dtype.itemsize]).sum(dtype=torch.int64)) for piece in pieces)


def _differ(one: Tensor, other: Tensor) -> int:
    return int((local_part(one) != local_part(other)).sum())
