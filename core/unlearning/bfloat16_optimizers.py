"""AdamW and gradient descent for weights that are held in bfloat16 alone, by stochastic rounding (arXiv 2010.06192).

Updates are smaller than bfloat16 can resolve, so rounding to the nearest would lose them. Stochastic rounding goes up
or down at random, with probabilities by the distance to each neighbour: the expected weight is the exact one, and
updates add up. A weight, its gradient and AdamW's two moments then take 8 bytes, not 16.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from core.unlearning.optimizer_sizes import WEIGHTS_PER_SLICE


def round_stochastically(values: Tensor, generator: torch.Generator) -> Tensor:
    """float32 (N,) -> bfloat16 (N,) with the expectation `values`; values that are not finite stay as they are."""
    # bfloat16 lacks the lower half of a float32: a uniform number added to that half carries with the right probability
    noise = torch.randint(0, 1 << 16, values.shape, generator=generator, device=values.device, dtype=torch.int32)
    moved = (values.view(torch.int32) + noise).bitwise_and_(-(1 << 16)).view(torch.float32)
    return torch.where(values.isfinite(), moved, values).to(torch.bfloat16)


class StochasticRoundingOptimizer(Optimizer):
    """AdamW (arXiv 1711.05101), or plain descent without `adam`, computed in float32 and stored in the weights' dtype.

    The rounding depends on `seed`, the update's number and the weight's number alone, so that resuming needs nothing
    beyond the optimiser's state.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        seed: int,
        adam: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps})
        self._seed, self._adam = seed, adam

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        number = 0
        for group in self.param_groups:
            for weight in group["params"]:
                number += 1
                if weight.grad is not None:
                    self._update(weight, group, number)

    def _update(self, weight: nn.Parameter, group: dict[str, Any], number: int) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = 0
            if self._adam:
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        generator = torch.Generator(weight.device).manual_seed(
            (self._seed * 1_000_003 + state["step"]) * 1_000_003 + number
        )
        moments = [_flat(state[name]) for name in ("exp_avg", "exp_avg_sq") if name in state]
        values, gradient = _flat(weight), _flat(cast(Tensor, weight.grad))
        for cut in (slice(start, start + WEIGHTS_PER_SLICE) for start in range(0, len(values), WEIGHTS_PER_SLICE)):
            direction = gradient[cut].float()
            if self._adam:
                direction = _adam(direction, moments[0][cut], moments[1][cut], group, state["step"], generator)
            decayed = values[cut].float() * (1 - group["lr"] * group["weight_decay"])
            _store(values[cut], decayed - group["lr"] * direction, generator)


def _adam(
    gradient: Tensor, mean: Tensor, square: Tensor, group: dict[str, Any], step: int, generator: torch.Generator
) -> Tensor:
    """Updates both moments, (N,) each, and returns the direction, float32 (N,)."""
    beta1, beta2 = group["betas"]
    new_mean = mean.float().lerp_(gradient, 1 - beta1)
    new_square = square.float().lerp_(gradient.square(), 1 - beta2)
    _store(mean, new_mean, generator)
    _store(square, new_square, generator)
    direction: Tensor = new_mean / (1 - beta1**step) / ((new_square / (1 - beta2**step)).sqrt_() + group["eps"])
    return direction


def _store(place: Tensor, values: Tensor, generator: torch.Generator) -> None:
    place.copy_(round_stochastically(values, generator) if place.dtype == torch.bfloat16 else values)


def _flat(tensor: Tensor) -> Tensor:
    """A view (N,) of this rank's part of the tensor."""
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return local.detach().view(-1)
