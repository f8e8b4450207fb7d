"""How many weights a job trains, from the names and shapes in the safetensors headers."""

import itertools
import math
from collections.abc import Iterator
from fnmatch import fnmatchcase

from core.preflight.work import Work
from core.schema.models import ModelShape, TensorGroup
from core.schema.training import Lora

_NOT_LINEAR = ("embed", "wte", "wpe", "lm_head", "norm", "router")


def trained_parameters(work: Work) -> int:
    """Weights that the optimiser holds: all, those that a pattern names, the adapters' own; 0 where a job measures."""
    shape, training = work.shape, work.training
    if work.method is None:
        return 0
    only = work.method.trained(shape.layers)
    if training.lora is not None and only is None:
        return adapter_parameters(shape, training.lora)
    patterns = only if only is not None else training.trainable
    if patterns == "all" or not shape.tensors:
        return shape.parameters
    matching = (
        math.prod(group.shape)
        for group in shape.tensors
        for name in names(group, shape.layers)
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    )
    return sum(matching)


def adapter_parameters(shape: ModelShape, lora: Lora) -> int:
    """rank * (in + out) of every linear layer that gets one (arXiv 2106.09685, section 4.1)."""
    linear = [group for group in shape.tensors if _is_linear(group)]
    if not linear:  # a shape that was read before names were: those of a Llama
        width = shape.intermediate or 4 * shape.hidden_size
        return lora.rank * shape.layers * (8 * shape.hidden_size + 3 * (shape.hidden_size + width))
    wanted = linear if lora.modules == "all-linear" else [one for one in linear if _named(one, lora.modules)]
    return sum(lora.rank * sum(one.shape) * one.count for one in wanted)


def names(group: TensorGroup, layers: int) -> Iterator[str]:
    """The names that a group stands for: its first number counts layers, each further one what a layer has several
    of (experts)."""
    stars = group.name.count("*")
    if stars == 0:
        yield group.name
        return
    outer = group.count if stars == 1 else min(layers, group.count)
    inner = max(1, round((group.count / outer) ** (1 / max(1, stars - 1))))
    ranges = [range(group.first, group.first + outer), *[range(inner)] * (stars - 1)]
    for numbers in itertools.islice(itertools.product(*ranges), group.count):
        name = group.name
        for number in numbers:
            name = name.replace("*", str(number), 1)
        yield name


def largest_tensor(shape: ModelShape) -> int:
    """Weights of the largest single matrix."""
    return max((math.prod(one.shape) for one in shape.tensors), default=shape.vocabulary * shape.hidden_size)


def _is_linear(group: TensorGroup) -> bool:
    return len(group.shape) == 2 and not any(word in group.name for word in _NOT_LINEAR)


def _named(group: TensorGroup, modules: list[str]) -> bool:
    module = group.name.removesuffix(".weight")
    return any(module == one or module.endswith(f".{one}") or fnmatchcase(module, one) for one in modules)
