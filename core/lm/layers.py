"""Ways to spend less memory or time in a backbone's layers. None changes what they compute."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from core.lm.compiler import require_compiler
from core.lm.errors import CoreError

_FUNCTION = "_gradient_checkpointing_func"
"""The attribute of a layer that holds the function by which it recomputes."""


def recompute_activations(model: PreTrainedModel) -> None:
    """Keeps only each layer's input for the backward pass, which computes the rest again (arXiv 1604.06174).

    A layer recomputes while it is in training mode. That flag is set on the layers alone, and cleared while they
    compute, since some layers drop units by themselves. Raises CoreError `checkpointing_unavailable`.
    """
    layers = _layers(model)
    if not layers:
        raise CoreError(
            "checkpointing_unavailable", "training.checkpointing: this architecture cannot recompute its activations"
        )
    # no dropout is active, so there is no random state to keep
    recompute = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
    for layer in layers:
        layer.gradient_checkpointing, layer.training = True, True
        setattr(layer, _FUNCTION, partial(_in_evaluation, layer, recompute))


@contextmanager
def recomputing(model: PreTrainedModel) -> Iterator[None]:
    """Within it, the layers recompute their activations, where they can."""
    layers = _layers(model)
    before = [(layer.gradient_checkpointing, layer.training, vars(layer).get(_FUNCTION)) for layer in layers]
    if layers:
        recompute_activations(model)
    try:
        yield
    finally:
        for layer, (checkpointing, training, function) in zip(layers, before, strict=True):
            layer.gradient_checkpointing, layer.training = checkpointing, training
            setattr(layer, _FUNCTION, function)


def _in_evaluation(layer: Any, recompute: Callable[..., Any], function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls `recompute` on the function, with the layer out of training mode while the function runs."""

    def compute(*inputs: Any) -> Any:
        layer.training = False
        try:
            return function(*inputs)
        finally:
            layer.training = True

    return recompute(compute, *arguments)


def compile_layers(model: PreTrainedModel) -> None:
    """Compiles the parts of the backbone's layers other than attention, at the first step; names and weights stay.

    Record lengths differ from batch to batch, so attention would be compiled anew each time and is left out. Experts
    with adapters are left out too: their weights are put together in each pass. Raises CoreError
    `compile_unavailable`.
    """
    parts = [part for layer in _layers(model) for name, part in layer.named_children() if "attn" not in name]
    parts = [part for part in parts if any(True for _ in part.parameters()) and not _has_adapted_experts(part)]
    if not parts:
        raise CoreError("compile_unavailable", "training.compile: this architecture has no layers to compile")
    require_compiler(model.device, "compile_unavailable", "training.compile")
    for part in parts:
        part.compile(dynamic=True)


def _has_adapted_experts(part: nn.Module) -> bool:
    return any(hasattr(module, "parameter_name") for module in part.modules())


def _layers(model: PreTrainedModel) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
