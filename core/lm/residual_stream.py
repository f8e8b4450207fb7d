"""The residual stream of a backbone: the layers that it runs through, and its states after one of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel


def find_layers(model: PreTrainedModel) -> tuple[nn.Module, str, nn.ModuleList]:
    """The backbone's list of layers, with the module and the name that it is held by.

    That is the largest list, where it holds more than half of the backbone's weights, embeddings apart, or has the
    length that the config says, and no list beside it holds parts of the same layers (attention in one list, MLPs in
    another). Raises AttributeError where there is none.
    """
    backbone = model.base_model
    tables = (module for module in backbone.modules() if isinstance(module, nn.Embedding))
    embeddings = {id(weight) for table in tables for weight in table.parameters()}
    most, largest = 0, None
    for owner in backbone.modules():
        lists = [(name, child) for name, child in owner.named_children() if isinstance(child, nn.ModuleList)]
        for name, child in lists:
            size = _size(child, embeddings)
            beside = [other for _, other in lists if other is not child and len(other) == len(child)]
            parallel = any(8 * _size(other, embeddings) > size for other in beside)
            if size > most and not parallel:
                most, largest = size, (owner, name, child)
    said = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    if largest is None or (2 * most <= _size(backbone, embeddings) and len(largest[2]) != said):
        raise AttributeError("the model has no list of layers")
    return largest


def layer_count(model: PreTrainedModel) -> int:
    """How many layers the model has: those of its list, else what its config says, else 0."""
    try:
        return len(find_layers(model)[2])
    except AttributeError:
        return int(getattr(model.config.get_text_config(), "num_hidden_layers", 0) or 0)


class LayerReached(Exception):
    """The layer whose states were wanted is done."""


@contextmanager
def stopping_after(model: PreTrainedModel, layer: int, caught: list[Tensor]) -> Iterator[None]:
    """While it lasts, the model raises Reached after `layer` (from 0), whose output (B, T, d) is put on the list.

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
    """Stands where a layer does, which models may ask for its kind before they call it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.__dict__["layer"] = layer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["layer"], name)

    def forward(self, *_: object, **__: object) -> None:
        raise LayerReached


def _size(module: nn.Module, without: set[int]) -> int:
    return sum(weight.numel() for weight in module.parameters() if id(weight) not in without)
