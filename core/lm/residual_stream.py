"""The residual stream of a backbone: the layers that it runs through, and its states after a layer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel


def find_layers(model: PreTrainedModel) -> tuple[nn.Module, str, nn.ModuleList]:
    """Returns the module that holds the backbone's list of layers, its attribute's name, and the list.

    That is the largest list of modules, provided that it holds more than half of the backbone's weights, embeddings
    apart, or has the config's number of layers, and that no list beside it holds parts of the same layers (attention in
    one list, MLPs in another). Raises AttributeError where there is no such list.
    """
    backbone = model.base_model
    tables = (module for module in backbone.modules() if isinstance(module, nn.Embedding))
    embeddings = {id(weight) for table in tables for weight in table.parameters()}
    largest_size, largest = 0, None
    for owner in backbone.modules():
        lists = [(name, child) for name, child in owner.named_children() if isinstance(child, nn.ModuleList)]
        for name, child in lists:
            size = _size(child, embeddings)
            siblings = [sibling for _, sibling in lists if sibling is not child and len(sibling) == len(child)]
            parallel = any(8 * _size(sibling, embeddings) > size for sibling in siblings)
            if size > largest_size and not parallel:
                largest_size, largest = size, (owner, name, child)
    configured = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    if largest is None or (2 * largest_size <= _size(backbone, embeddings) and len(largest[2]) != configured):
        raise AttributeError("the model has no list of layers")
    return largest


def layer_count(model: PreTrainedModel) -> int:
    """Returns how many layers the model has: the length of its list, else its config's number, else 0."""
    try:
        return len(find_layers(model)[2])
    except AttributeError:
        return int(getattr(model.config.get_text_config(), "num_hidden_layers", 0) or 0)


class LayerReached(Exception):
    """Ends a forward pass: the layer whose states are needed has run."""


@contextmanager
def stopping_after(model: PreTrainedModel, layer: int, caught: list[Tensor]) -> Iterator[None]:
    """Within it, the model raises LayerReached after `layer` (from 0), whose output (B, T, d) goes to `caught`.

    The list of layers keeps its length, since models look layers up by their numbers. Raises AttributeError.
    """
    layers = find_layers(model)[2]

    def catch(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        caught.append(output if isinstance(output, Tensor) else output[0])

    hook = layers[layer].register_forward_hook(catch)
    above = layers[layer + 1] if layer + 1 < len(layers) else None
    if above is not None:
        layers[layer + 1] = _End(above)
    try:
        yield
    finally:
        if above is not None:
            layers[layer + 1] = above
        hook.remove()


class _End(nn.Module):
    """Stands in for a layer and has its attributes, since models may ask for its kind before they call it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.__dict__["layer"] = layer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["layer"], name)

    def forward(self, *_: object, **__: object) -> None:
        raise LayerReached


def _size(module: nn.Module, excluded: set[int]) -> int:
    return sum(weight.numel() for weight in module.parameters() if id(weight) not in excluded)
