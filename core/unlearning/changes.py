"""How much of the model a job has changed."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.lm.model import stored_dtype


class Weights:
    """The weights as they were, on the CPU, in the dtype that they are stored in: as large as the model's files."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._before = [_stored(weight, model) for weight in _unique(model)]

    def changed_share(self, model: PreTrainedModel) -> float:
        """The share, 0 to 1, of weights that a checkpoint written now would hold differently."""
        changed = total = 0
        for before, weight in zip(self._before, _unique(model), strict=True):
            changed += int((before != _stored(weight, model)).sum())
            total += before.numel()
        return changed / total

    @torch.no_grad()
    def finish(self, model: PreTrainedModel, finish: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Sets each weight to finish(weight, what it was)."""
        for before, weight in zip(self._before, _unique(model), strict=True):
            weight.copy_(finish(weight, before.to(weight)))


def _unique(model: PreTrainedModel) -> Iterator[Tensor]:
    yield from model.parameters()


def _stored(weight: Tensor, model: PreTrainedModel) -> Tensor:
    return weight.detach().to("cpu", stored_dtype(model), copy=True)
