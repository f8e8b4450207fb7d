"""A model whose weights, gradients and optimiser states are spread over the ranks (FSDP2), and made whole again."""

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from core.lm.process_group import Ranks

T = TypeVar("T")


class Sharded(nn.Module):
    """A model of which every rank holds its part. `within` a call, the weights outside of the layers are whole.

    Weights are spread along their first dimension, each layer's apart, and come together while the layer is at work.
    The gradients of all ranks are added up, not averaged: a micro-batch's loss is a share of the whole step's.
    """

    def __init__(self, model: PreTrainedModel, layers: Sequence[nn.Module], ranks: Ranks) -> None:
        """In place: afterwards `model.parameters()` are others than before."""
        super().__init__()
        self.model = model
        self._inside = False
        mesh = init_device_mesh(model.device.type, (ranks.count,))
        for module in (*layers, self):
            sharded = fully_shard(module, mesh=mesh)
            sharded.set_gradient_divide_factor(1.0)
            sharded.set_force_sum_reduction_for_comms(True)  # gloo has no sum with a factor

    def forward(self, work: Callable[[], T]) -> T:
        return work()

    def run(self, work: Callable[[], T]) -> T:
        """Does the work, which may be all of a micro-batch: what comes out of it may be sent backward."""
        if self._inside:
            return work()
        self._inside = True
        try:
            found = cast(T, self(work))
        finally:
            self._inside = False
        if not torch.is_grad_enabled():
            # no backward pass will take the weights apart again, and after an update they would be those of before
            cast(FSDPModule, self).reshard()
        return found


def local_part(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor: all of one that is not spread."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor, in every rank."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def gather_model(model: PreTrainedModel, ranks: Ranks) -> None:
    """Makes a sharded model whole in rank 0, on the CPU, weight by weight; in the others nothing of it is left.

    It can then be written, and no longer be run. Nothing is done to a model of a rank that is alone.
    """
    if ranks.count == 1:
        return
    made: dict[nn.Parameter, nn.Parameter] = {}  # weights that two modules share stay shared
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight not in made:
                together = full_tensor(weight.detach())
                kept = together.cpu() if ranks.rank == 0 else torch.empty(0)
                made[weight] = nn.Parameter(kept, requires_grad=weight.requires_grad)
            setattr(module, name, made[weight])
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.cpu())
