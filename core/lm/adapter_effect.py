"""Trials on a few tokens: whether each adapter is part of the computation, and whether merging changed a model."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from core.lm.layers import recomputing
from core.lm.losses import at_least_float32
from core.lm.model import context_length

ROWS, SHORT, LONG = 8, 6, 512


def trial_tokens(model: PreTrainedModel, rows: int = ROWS, length: int = SHORT) -> Tensor:
    """Returns tokens (rows, length), each row a record of its own.

    A router of experts may break a tie in two ways; with several rows that changes one row only.
    """
    vocabulary = model.get_input_embeddings().num_embeddings
    steps = torch.arange(rows * length, device=model.device)
    return (7 * steps + steps // length).remainder(vocabulary).view(rows, length)


def logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Returns the model's own logits: (B, T, V), in at least float32."""
    values: Tensor = model(input_ids=ids, use_cache=False).logits
    return at_least_float32(values)


def nearly_equal(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Whether most rows are equal but for the rounding of weights in `dtype`. Values that are not finite are
    ignored."""
    tolerance = {torch.float64: 1e-8, torch.float32: 1e-3}.get(dtype, 0.1)
    scale = torch.nan_to_num(expected).abs().amax().clamp(min=1e-6)
    distance = torch.nan_to_num(actual - expected, nan=0.0).abs().flatten(1).amax(1) / scale  # (B,)
    return bool(distance.median() <= tolerance)


def unused_adapters(
    model: PreTrainedModel, layers: Mapping[str, Any], matrix: Callable[[Any], Tensor], *, ids: Tensor | None = None
) -> dict[str, str]:
    """Returns the names among the adapted `layers` whose adapter has no effect on the logits, with the reason.

    `matrix` returns a weight of a layer's adapter. An expert that no token goes to counts as used. Modules that a short
    record does not reach (they compress or select a longer past) are tried again on a long record. Raises whatever the
    model raises.
    """
    watch = _Watch(layers)
    try:
        # recomputing: experts with an adapter are copied, and then only one layer's copy exists at a time
        with recomputing(model), torch.enable_grad():
            with watch:
                total = logits(model, trial_tokens(model, rows=2) if ids is None else ids).sum()
            matrices = {name: matrix(layer) for name, layer in layers.items()}
            gradients = torch.autograd.grad(total, list(matrices.values()), allow_unused=True)
    finally:
        watch.remove()
    bypassed = {name: "the model reads its weight past the adapter" for name in layers if watch.is_bypassed(name)}
    unreached = {
        name: "the model's predictions do not depend on it"
        for name, gradient in zip(matrices, gradients, strict=True)
        if gradient is None and name not in bypassed and (watch.is_called(name) or "expert" not in name)
    }
    context = context_length(model, sys.maxsize)
    if unreached and ids is None and context < sys.maxsize:  # a model that names no context may bear short records only
        longer = trial_tokens(model, rows=1, length=min(3 * context // 4, LONG))
        unreached = unused_adapters(model, {name: layers[name] for name in unreached}, matrix, ids=longer)
    return bypassed | unreached


class _Watch(TorchFunctionMode):
    """Notes each use of a layer's weight outside of the forward of the layers that the weight belongs to."""

    def __init__(self, layers: Mapping[str, Any]) -> None:
        super().__init__()
        self._weights = {name: id(weight_of(layer)) for name, layer in layers.items()}
        self._watched = set(self._weights.values())
        self._inside, self._called, self._bypassed = Counter[int](), Counter[str](), Counter[int]()
        self._hooks = [hook for name, layer in layers.items() for hook in self._around(name, layer)]

    def is_called(self, name: str) -> bool:
        return self._called[name] > 0

    def is_bypassed(self, name: str) -> bool:
        return self._bypassed[self._weights[name]] > 0

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _around(self, name: str, layer: nn.Module) -> list[Any]:
        weight = self._weights[name]

        def enter(*_: object) -> None:
            self._inside[weight] += 1
            self._called[name] += 1

        def leave(*_: object) -> None:
            self._inside[weight] -= 1

        return [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor):  # reading a shape, a dtype or a device is no use of the weight
            for value in (*args, *(kwargs or {}).values()):
                for part in value if isinstance(value, list | tuple) else (value,):
                    if id(part) in self._watched and not self._inside[id(part)]:
                        self._bypassed[id(part)] += 1
        return result


def weight_of(layer: Any) -> Tensor:
    """Returns the weight that an adapted layer adds to."""
    weight: Tensor = getattr(layer.get_base_layer(), getattr(layer, "parameter_name", "weight"))
    return weight
