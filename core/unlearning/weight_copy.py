"""A copy of the trained weights in host memory, to return to."""

from collections.abc import Sequence

import torch
from torch import nn

from core.lm.sharding import local_part


class WeightCopy:
    """The trained weights as they were when `take` was last called. Each rank keeps its part of a sharded model."""

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        self._weights = list(weights)
        self.tensors = [local_part(weight.detach()).to("cpu", copy=True) for weight in self._weights]

    @torch.no_grad()
    def take(self) -> None:
        """Copies the weights as they are now."""
        for tensor, weight in zip(self.tensors, self._weights, strict=True):
            tensor.copy_(local_part(weight))

    @torch.no_grad()
    def restore(self) -> None:
        """Sets the weights to the copy."""
        for tensor, weight in zip(self.tensors, self._weights, strict=True):
            local_part(weight).copy_(tensor)
