"""An optimiser's state as plain tensors and JSON, for snapshots."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from core.lm.sharding import local_part

_PLAIN = "plain"

OptimizerState = dict[str, dict[str, dict[str, Any]]]
"""By weight and state name. For a number: its `value`. For a tensor: `host`, whether it lies off the weight's device;
`spread`, whether it is sharded over the ranks as the weight is; and for an 8-bit tensor `context`, the arguments it is
rebuilt from besides its inner tensors."""


def export_state(optimizer: Optimizer, weights: Mapping[str, nn.Parameter]) -> tuple[dict[str, Tensor], OptimizerState]:
    """The state of these weights: the tensors by label (inner name/state name/weight), and everything else as JSON."""
    tensors: dict[str, Tensor] = {}
    state: OptimizerState = {}
    for weight_name, weight in weights.items():
        state[weight_name] = {}
        for name, value in optimizer.state.get(weight, {}).items():
            if not isinstance(value, Tensor):
                state[weight_name][name] = {"value": value}
                continue
            state[weight_name][name] = {"host": value.device != weight.device, "spread": isinstance(value, DTensor)}
            if type(local_part(value)) is Tensor:
                inner = {_PLAIN: local_part(value)}
            else:
                inner_names, context = value.__tensor_flatten__()  # type: ignore[attr-defined]
                inner = {inner_name: getattr(value, inner_name) for inner_name in inner_names}
                # a dtype is written as torch does: torch.float32
                state[weight_name][name]["context"] = [
                    str(argument) if isinstance(argument, torch.dtype) else argument for argument in context
                ]
            tensors |= {f"{inner_name}/{name}/{weight_name}": tensor.detach() for inner_name, tensor in inner.items()}
    return tensors, state


@torch.no_grad()
def restore_state(
    optimizer: Optimizer,
    weights: Mapping[str, nn.Parameter],
    tensors: Iterable[tuple[str, Tensor]],
    state: OptimizerState,
) -> None:
    """Restores an exported state into an optimiser of the same kind that has made no update yet.

    Not by load_state_dict, which would cast a weight's state to the weight's dtype.
    """
    for weight_name, entries in state.items():
        optimizer.state[weights[weight_name]] = {
            name: entry["value"] for name, entry in entries.items() if "value" in entry
        }
    eight_bit: dict[tuple[str, str], dict[str, Tensor]] = {}
    for label, tensor in tensors:
        inner_name, name, weight_name = label.split("/", 2)
        weight, entry = weights[weight_name], state[weight_name][name]
        placed = tensor if entry["host"] else tensor.to(weight.device)
        if inner_name == _PLAIN:
            optimizer.state[weight][name] = _sharded_like(weight, placed) if entry["spread"] else placed
        else:
            eight_bit.setdefault((weight_name, name), {})[inner_name] = placed
    for (weight_name, name), inner in eight_bit.items():
        optimizer.state[weights[weight_name]][name] = _eight_bit_tensor(inner, state[weight_name][name]["context"])


def _sharded_like(weight: Tensor, shard: Tensor) -> Tensor:
    """The tensor, sharded as the weight is, of which `shard` is this rank's part."""
    if not isinstance(weight, DTensor):
        raise TypeError("the state of a weight that is not sharded is not sharded either")
    return DTensor.from_local(
        shard, weight.device_mesh, weight.placements, run_check=False, shape=weight.shape, stride=weight.stride()
    )


def _eight_bit_tensor(inner: dict[str, Tensor], context: list[Any]) -> Tensor:
    from torchao.optim.subclass_8bit import OptimState8bit

    arguments = [
        getattr(torch, argument.removeprefix("torch.")) if isinstance(argument, str) else argument
        for argument in context
    ]
    tensor: Tensor = OptimState8bit.__tensor_unflatten__(inner, arguments)
    return tensor
