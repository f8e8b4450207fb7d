"""How much of the model a job has changed."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from core.lm import adapter
from core.lm.model import stored_dtype
from core.lm.ranks import ALONE, Ranks
from core.lm.sharding import local


class Weights:
    """The weights that are trained, as they were, on the CPU, in the dtype that they are stored in.

    Made once it is chosen what is trained; frozen weights are not copied, and an adapter's base tells by itself.
    Each rank keeps what it holds of a sharded model.
    """

    def __init__(self, model: PreTrainedModel, ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        own = not adapter.attached(model)
        self._before = [(weight, _stored(weight, model)) for weight in _trained(model) if own]
        self._all: int = sum(weight.numel() for weight in model.parameters() if own or not weight.requires_grad)

    def changed_share(self, model: PreTrainedModel) -> float:
        """The share, 0 to 1, of the model's weights that a whole checkpoint written now would hold differently."""
        changed = sum(_differ(before, _stored(weight, model)) for weight, before in self._before)
        if adapter.attached(model):
            for before, merged in adapter.merged_weights(model):
                changed += _differ(before.to(stored_dtype(model)), merged.to(stored_dtype(model)))
        return float(self._ranks.sum(torch.tensor([changed]))) / self._all

    @torch.no_grad()
    def finish(self, model: PreTrainedModel, finish: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Sets each trained weight to finish(weight, what it was), which is linear in their difference."""
        for weight, before in self._before:
            held = local(weight)
            held.copy_(finish(held, before.to(held)))
        if adapter.attached(model):
            adapter.scale(model, float(finish(torch.ones(()), torch.zeros(()))))


def _trained(model: PreTrainedModel) -> list[nn.Parameter]:
    return [weight for weight in model.parameters() if weight.requires_grad]


def _differ(one: Tensor, other: Tensor) -> int:
    return int((local(one) != local(other)).sum())


def _stored(weight: Tensor, model: PreTrainedModel) -> Tensor:
    return local(weight.detach()).to("cpu", stored_dtype(model), copy=True)
