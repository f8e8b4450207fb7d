"""Converts a model's weights back to the tensors of the files that it was loaded from, or tensors to weights.

While it loads, transformers renames tensors and joins or splits them (experts into one tensor, say). The conversion is
the library's own, name by name; the way back is the library's reverse, and is checked against the conversion.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    apply_renamings,
    dot_natural_key,
    rename_source_key,
)

from core.lm.errors import CoreError
from core.schema.weight_files import BUFFERS, abbreviate_names

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass
class Origin:
    """Tensors of the files that became one weight, or several. `converter` None: a weight that was only renamed."""

    weight: str
    converter: WeightConverter | None
    tensors: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """By name in the file: the name after renaming and before converting, and the converter's pattern for it."""


class Origins:
    """How a model's weights were made from the tensors of its files."""

    def __init__(self, model: PreTrainedModel, tensors: Iterable[str]) -> None:
        """`tensors` are the names in the files. Raises CoreError `weights_not_in_files`."""
        self._model = model
        self._state: dict[str, Tensor] = model.state_dict()
        mapping = get_model_conversion_mapping(model)
        self._renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
        self._converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
        patterns = {pattern: converter for converter in self._converters for pattern in converter.source_patterns}
        self._origins: dict[str, Origin] = {}
        for name in sorted(tensors, key=dot_natural_key):  # in the loader's order, which some renamings depend on
            weight, pattern = self._target(name)
            if weight is not None:
                converter = None if pattern is None else patterns[pattern]
                origin = self._origins.setdefault(weight, Origin(weight, converter))
                origin.tensors[name] = (apply_renamings(name, self._renamings), pattern)

    def _target(self, name: str) -> tuple[str | None, str | None]:
        """Returns the weight that transformers loads a tensor into, and the converter's pattern for it.

        None: the model has no place for the tensor, or it is not converted.
        """
        prefix, state = self._model.base_model_prefix, self._state
        weight, pattern = rename_source_key(name, self._renamings, self._converters, prefix, state)
        if weight not in state and name in state:
            weight, pattern = rename_source_key(name, [], [], prefix, state)
        return (weight, pattern) if weight in state else (None, None)

    def convert_back(self, shapes: dict[str, tuple[int, ...]]) -> Iterator[dict[str, Tensor]]:
        """Yields the files' tensors by name, a few at a time, with the model's values in the model's dtype.

        `shapes` are the shapes of the tensors in the files. Raises CoreError `weights_not_in_files` where a weight has
        no tensor, and `weights_not_convertible` where a weight could not be made from its tensors again.
        """
        origins = [(origin, self._targets(origin, shapes)) for origin in self._origins.values()]
        self._refuse_uncovered({target for _, targets in origins for target in targets})
        for origin, targets in origins:
            if origin.converter is None:
                tensors = dict.fromkeys(origin.tensors, self._state[origin.weight].detach())
            else:
                tensors = self._unconverted(origin, origin.converter, targets)
            for name, tensor in tensors.items():
                if tuple(tensor.shape) != shapes[name]:
                    raise _not_convertible(name)
            yield tensors

    def convert(
        self, shapes: dict[str, tuple[int, ...]], read: Callable[[str], Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        """Yields the model's weights by name, as they are made from the files' tensors, in the files' dtype.

        `read` returns a tensor of the files by its name; the tensors of one weight are held at a time. Raises CoreError
        `weights_not_in_files` where a weight has no tensor, and `weights_left_over` where a tensor has no weight.
        """
        self._refuse_uncovered(
            {target for origin in self._origins.values() for target in self._targets(origin, shapes)}
        )
        self._refuse_left_over(shapes)
        for origin in self._origins.values():
            tensors = {name: read(name) for name in origin.tensors}
            if origin.converter is None:
                yield origin.weight, next(iter(tensors.values()))
            else:
                yield from self._converted(origin, origin.converter, tensors).items()

    def _targets(self, origin: Origin, shapes: dict[str, tuple[int, ...]]) -> list[str]:
        if origin.converter is None:
            return [origin.weight]
        tensors = {name: torch.empty(shapes[name], device="meta") for name in origin.tensors}
        return list(self._converted(origin, origin.converter, tensors))

    def _converted(self, origin: Origin, converter: WeightConverter, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the weights that the tensors become, by name."""
        converter = deepcopy(converter)
        for name, (_, pattern) in origin.tensors.items():
            converter.add_tensor(origin.weight, name, pattern, tensors[name])
        return _single(converter.convert(origin.weight, model=self._model, config=self._model.config))

    def _unconverted(self, origin: Origin, converter: WeightConverter, targets: list[str]) -> dict[str, Tensor]:
        """Returns the tensors that become the weights `targets`, by name in the file."""
        if missing := next((target for target in targets if target not in self._state), None):
            raise _not_convertible(missing)
        weights = {target: self._state[target].detach().cpu() for target in targets}
        reverse, layer = deepcopy(converter).reverse_transform(), ""
        for target, weight in weights.items():
            renamed, pattern = reverse.rename_source_key(target)
            if pattern is None:
                raise _not_convertible(target)
            layer = layer or renamed
            reverse.add_tensor(layer, target, pattern, weight)
        reversed_ = _single(reverse.convert(layer, model=self._model, config=self._model.config))
        by_name = {self._unprefixed(name): tensor for name, tensor in reversed_.items()}
        tensors = {}
        for name, (renamed, _) in origin.tensors.items():
            if self._unprefixed(renamed) not in by_name:
                raise _not_convertible(name)
            tensors[name] = by_name[self._unprefixed(renamed)]
        for target, weight in self._converted(origin, converter, tensors).items():
            if weight.shape != weights[target].shape or not same_bits(weight, weights[target]).all():
                raise _not_convertible(target)
        return tensors

    def _unprefixed(self, name: str) -> str:
        """Returns a name without the prefix of the base model, which files have or lack."""
        return name.removeprefix(f"{self._model.base_model_prefix}.")

    def _refuse_left_over(self, tensors: Iterable[str]) -> None:
        """Raises CoreError `weights_left_over` where the model has no place for a tensor, buffers apart."""
        placed = {name for origin in self._origins.values() for name in origin.tensors}
        ignored = [BUFFERS.pattern, *(self._model._keys_to_ignore_on_load_unexpected or ())]
        left_over = sorted(
            name for name in tensors if name not in placed and not any(re.search(pattern, name) for pattern in ignored)
        )
        if left_over:
            message = f"the files hold {abbreviate_names(left_over)}, which the model does not have"
            raise CoreError("weights_left_over", message)

    def _refuse_uncovered(self, targets: set[str]) -> None:
        """Raises CoreError `weights_not_in_files` where a weight is not among the targets."""
        stored = {self._state[target].data_ptr() for target in targets if target in self._state}
        computed = self._model._keys_to_ignore_on_load_missing or set()
        uncovered = [
            name
            for name, weight in self._model.named_parameters()
            if weight.numel() and weight.data_ptr() not in stored
            if not any(re.search(pattern, name) for pattern in computed)
        ]
        if uncovered:
            names = ", ".join(uncovered[:3]) + (", …" if len(uncovered) > 3 else "")
            raise CoreError(
                "weights_not_in_files",
                f"the model's files hold no tensor for {names}, so that"
                " the checkpoint could not hold what was trained: register a model whose files are complete",
            )


def same_bits(left: Tensor, right: Tensor) -> Tensor:
    """Returns where two tensors of one shape and dtype hold the same bits, elementwise."""
    return left.view(_BITS[left.element_size()]) == right.view(_BITS[right.element_size()])


def _single(converted: dict[str, Any]) -> dict[str, Tensor]:
    return {name: tensor[0] if isinstance(tensor, list) else tensor for name, tensor in converted.items()}


def _not_convertible(name: str) -> CoreError:
    return CoreError(
        "weights_not_convertible",
        f"'{name}' cannot be written back as the model's files hold it: save the model once with transformers'"
        " save_pretrained, and register that",
    )
