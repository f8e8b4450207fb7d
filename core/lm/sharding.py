"""A model whose weights, gradients and optimiser states are sharded over the ranks (FSDP2), and gathered again."""

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
    """A model of which every rank holds a part. Within `run`, the weights outside of the layers are whole.

    Weights are sharded along their first dimension, layer by layer, and gathered while their layer computes. The
    gradients of all ranks are added up, not averaged: a micro-batch's loss is a share of the whole step's.
    """

    def __init__(self, model: PreTrainedModel, layers: Sequence[nn.Module], ranks: Ranks) -> None:
        """Shards the model in place, which replaces its parameters."""
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
        """Does the work, up to all of a micro-batch. Its result may be the start of a backward pass."""
        if self._inside:
            return work()
        self._inside = True
        try:
            result = cast(T, self(work))
        finally:
            self._inside = False
        if not torch.is_grad_enabled():
            # without a backward pass the weights would stay gathered, and be outdated after the next update
            cast(FSDPModule, self).reshard()
        return result


def local_part(tensor: Tensor) -> Tensor:
    """Returns this rank's part of a sharded tensor; another tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full_tensor(tensor: Tensor) -> Tensor:
    """Returns the whole of a tensor, in every rank."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def gather_model(model: PreTrainedModel, ranks: Ranks) -> None:
    """Gathers a sharded model in rank 0, on the CPU, weight by weight; the other ranks keep nothing of it.

    The model can then be saved, but no longer run. A single rank's model is left as it is.
    """
    if ranks.count == 1:
        return
    gathered: dict[nn.Parameter, nn.Parameter] = {}  # weights that two modules share stay shared
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight not in gathered:
                full = full_tensor(weight.detach())
                kept = full.cpu() if ranks.rank == 0 else torch.empty(0)
                gathered[weight] = nn.Parameter(kept, requires_grad=weight.requires_grad)
            setattr(module, name, gathered[weight])
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.cpu())
