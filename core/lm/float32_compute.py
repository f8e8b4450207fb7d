"""A half-precision model computed in float32 without a second copy: each weight is converted where it is used."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map
from transformers import PreTrainedModel

_HALF = (torch.float16, torch.bfloat16)


def computing_in_float32(model: PreTrainedModel) -> AbstractContextManager[object]:
    """Within it, the model computes in float32, whatever the dtype of its weights. The model itself is not changed."""
    half = any(weight.dtype in _HALF for weight in model.parameters())
    return _Float32Mode() if half else nullcontext()


class _Float32Mode(TorchFunctionMode):
    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if getattr(function, "__name__", "") in ("__get__", "__set__"):  # an attribute, not a computation
            return function(*args, **(kwargs or {}))
        return function(*tree_map(_in_float32, args), **tree_map(_in_float32, dict(kwargs or {})))


def _in_float32(value: object) -> object:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in _HALF else value
    return torch.float32 if value in _HALF else value
