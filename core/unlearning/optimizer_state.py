"""An optimiser's state, taken apart into plain tensors and JSON, and put together again."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from core.lm.sharding import local_part

_PLAIN = "plain"

OptimizerState = dict[str, dict[str, dict[str, Any]]]
"""By weight and by name: a number's `value`; of a tensor, whether it is kept off the weight's device (`host`), and
whether it is spread over the ranks as its weight is (`spread`); of one in 8 bits, what else it is made from
(`context`)."""


def export_state(optimizer: Optimizer, weights: Mapping[str, nn.Parameter]) -> tuple[dict[str, Tensor], OptimizerState]:
    """The tensors, and what else there is to know, of the state of these weights, by their names."""
    tensors: dict[str, Tensor] = {}
    state: OptimizerState = {}
    for of, weight in weights.items():
        state[of] = {}
        for name, value in optimizer.state.get(weight, {}).items():
            if not isinstance(value, Tensor):
                state[of][name] = {"value": value}
                continue
            state[of][name] = {"host": value.device != weight.device, "spread": isinstance(value, DTensor)}
            if type(local_part(value)) is Tensor:
                inner = {_PLAIN: local_part(value)}
            else:
                names, context = value.__tensor_flatten__()  # type: ignore[attr-defined]
                inner = {one: getattr(value, one) for one in names}
                # a dtype is written as torch does: torch.float32
                state[of][name]["context"] = [str(one) if isinstance(one, torch.dtype) else one for one in context]
            tensors |= {f"{part}/{name}/{of}": tensor.detach() for part, tensor in inner.items()}
    return tensors, state


@torch.no_grad()
def import_state(
    optimizer: Optimizer,
    weights: Mapping[str, nn.Parameter],
    tensors: Iterable[tuple[str, Tensor]],
    state: OptimizerState,
) -> None:
    """The opposite, into an optimiser of the same kind that has made no update yet.

    Not by load_state_dict, which would cast what is kept of a weight to the weight's own dtype.
    """
    for of, known in state.items():
        optimizer.state[weights[of]] = {name: how["value"] for name, how in known.items() if "value" in how}
    compressed: dict[tuple[str, str], dict[str, Tensor]] = {}
    for label, tensor in tensors:
        part, name, of = label.split("/", 2)
        placed = tensor if state[of][name]["host"] else tensor.to(weights[of].device)
        if part == _PLAIN:
            optimizer.state[weights[of]][name] = _spread(placed, weights[of]) if state[of][name]["spread"] else placed
        else:
            compressed.setdefault((of, name), {})[part] = placed
    for (of, name), inner in compressed.items():
        optimizer.state[weights[of]][name] = _eight_bit(inner, state[of][name]["context"])


def _spread(part: Tensor, like: Tensor) -> Tensor:
    """This rank's part of a tensor that is spread as `like` is."""
    if not isinstance(like, DTensor):
        raise TypeError("of a weight that is not spread, no state is")
    return DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def _eight_bit(inner: dict[str, Tensor], context: list[Any]) -> Tensor:
    from torchao.optim.subclass_8bit import OptimState8bit

    known = [getattr(torch, one.removeprefix("torch.")) if isinstance(one, str) else one for one in context]
    made: Tensor = OptimState8bit.__tensor_unflatten__(inner, known)
    return made
