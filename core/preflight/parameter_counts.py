"""Counts the weights that a job trains, from the names and shapes in the safetensors headers."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from core.schema.adapters import has_no_effect, is_refused, is_router
from core.schema.models import ModelShape, TensorGroup
from core.schema.training import Lora
from core.schema.weight_patterns import matches_module

_EMBEDDING = re.compile(r"(?<!un)embed|\bw[tp]e\b")
_FUSED_WITH = {"up_proj": "gate_proj", "w3": "w1"}
"""Matrices of an expert that are fused with another matrix when the model is loaded."""

_SPLIT_INTO = {"HrmTextForCausalLM": {"gqkv_proj": 4, "gate_up_proj": 2}}
"""Matrices that are split into several when the model is loaded, by architecture."""


def matching_parameters(shape: ModelShape, patterns: Sequence[str] | Literal["all"]) -> int:
    """Returns the weights that the patterns select. A shape without names counts in full."""
    if patterns == "all" or not shape.tensors:
        return shape.parameters
    matching = (
        math.prod(group.shape)
        for group in shape.tensors
        for name in expand_names(group, shape.layers)
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    )
    return sum(matching)


def adapter_parameters(shape: ModelShape, lora: Lora) -> int:
    """Returns the weights of all adapters: rank * (in + out) for each matrix (arXiv 2106.09685, section 4.1).

    An expert's two gated matrices are one in memory, so their adapters share the half at the input.
    """
    matrices = [group for group in shape.tensors if _is_adapted(group, shape)]
    if not matrices:  # a shape that was registered before names were read: assume a Llama's matrices
        width = shape.intermediate or 4 * shape.hidden_size
        return lora.rank * shape.layers * (8 * shape.hidden_size + 3 * (shape.hidden_size + width))
    if lora.modules == "all-linear":
        selected = [group for group in matrices if _is_in_all_linear(group, shape)]
    else:
        selected = [group for group in matrices if _matches(group, lora.modules)]
    present = {group.name for group in shape.tensors}
    return sum(lora.rank * _adapter_width(group, shape, present) * group.count for group in selected)


def merged_parameters(shape: ModelShape, lora: Lora) -> int:
    """Returns the weights of fused experts with adapters, which each pass adds to the weights, not to outputs."""
    experts = (group for group in shape.tensors if "expert" in group.name and _is_adapted(group, shape))
    selected = (group for group in experts if lora.modules == "all-linear" or _matches(group, lora.modules))
    return sum(math.prod(group.shape) * group.count for group in selected if _is_fused(group))


def _is_fused(group: TensorGroup) -> bool:
    return len(group.shape) == 3 or "experts.*" in group.name


def _adapter_width(group: TensorGroup, shape: ModelShape, present: set[str]) -> int:
    """Returns the weights of an adapter of rank 1 for one tensor of the group."""
    if len(group.shape) == 3:
        return group.shape[0] * (group.shape[1] + group.shape[2])
    parent, _, name = _module(group).rpartition(".")
    fused = "experts.*" in parent and f"{parent}.{_FUSED_WITH.get(name)}.weight" in present
    inputs = 0 if fused else _SPLIT_INTO.get(shape.architecture, {}).get(name, 1)
    return group.shape[0] + inputs * group.shape[1]


def expand_names(group: TensorGroup, layers: int) -> Iterator[str]:
    """Yields the names that a group stands for. The first number counts layers, each further one a layer's experts."""
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
    """Returns the weights of the largest single matrix."""
    return max((math.prod(group.shape) for group in shape.tensors), default=shape.vocabulary * shape.hidden_size)


def _is_adapted(group: TensorGroup, shape: ModelShape) -> bool:
    """Whether a tensor can have an adapter: the weight of a linear layer, or of fused experts."""
    name = _module(group)
    if is_refused(shape.architecture, name):
        return False
    if len(group.shape) == 3:
        return "conv" not in name and ("experts" in name or group.name.endswith("_linear.weight"))
    linear = len(group.shape) == 2 and group.name.endswith(".weight") and group.shape[0] != shape.vocabulary
    return linear and _EMBEDDING.search(name) is None


def _is_in_all_linear(group: TensorGroup, shape: ModelShape) -> bool:
    """Whether `all-linear` includes a tensor."""
    name = _module(group)
    return not is_router(name) and not has_no_effect(shape.architecture, name)


def _module(group: TensorGroup) -> str:
    return group.name.removesuffix(".weight")


def _matches(group: TensorGroup, modules: list[str]) -> bool:
    return any(matches_module(_module(group), pattern) for pattern in modules)
