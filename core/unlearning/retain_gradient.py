"""The running mean of the retain terms' gradient, against which the forget term's may not point."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

DECAY = 0.9
"""The share of the mean that an update keeps. Without a mean, the few records of one update say too little: on TOFU the
harm to held-out retain text after 15 updates was twice as high."""
_ROUNDING = 1e-6
"""A mean whose largest element is a smaller share of the forget gradient's is rounding: the original has no gradient of
KL but that, and it depends on the micro-batches."""


class RetainGradient:
    """Follows the gradient r of the retain terms, m ← 0.9 m + 0.1 r, weight tensor by weight tensor."""

    def __init__(self, weights: Mapping[str, nn.Parameter]) -> None:
        """`weights` are the trained ones by name. The mean is kept in float32 where they are in a coarser format."""
        self.mean: dict[str, Tensor] = {
            name: torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
            for name, weight in weights.items()
        }
        self._weights = weights

    @torch.no_grad()
    def observe(self) -> None:
        """Takes the present gradients, the retain terms' of an update, into the mean.

        Trial updates count: at the original the KL terms have no gradient, so that the trials give the first directions
        of harm. Elements that are no finite number are left out.
        """
        for name, mean in self.mean.items():
            mean.mul_(DECAY)
            gradient = self._weights[name].grad
            if gradient is not None:
                mean.add_(gradient.nan_to_num(0.0, 0.0, 0.0), alpha=1 - DECAY)

    @torch.no_grad()
    def project(self, name: str, gradient: Tensor) -> Tensor:
        """Removes from a forget gradient g its component against the mean m, in place: g - (g·m / m·m) m where g·m < 0.

        A step along -g would raise what a step along -m lowers (GRU, arXiv 2503.09117; PCGrad, arXiv 2001.06782).
        """
        mean = self.mean[name]
        tiny = torch.finfo(mean.dtype).tiny
        size = mean.abs().amax()
        unit = (mean / size.clamp_min(tiny)).flatten()  # the squares of m itself may underflow
        product = torch.dot(gradient.flatten().to(unit.dtype), unit).clamp_max(0.0)
        is_direction = size > _ROUNDING * gradient.abs().amax()
        share = product / torch.dot(unit, unit).clamp_min(tiny) * is_direction
        gradient.sub_(unit.mul_(share).view_as(gradient).to(gradient.dtype))
        return gradient
