"""What may be done to a backbone's layers to spend less memory or less time; none changes what they compute."""

from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from core.lm.compiler import require_compiler
from core.lm.errors import CoreError


def recompute_activations(model: PreTrainedModel) -> None:
    """Keeps only each layer's input for the backward pass, which computes the rest again (arXiv 1604.06174).

    A layer recomputes where it is itself in training mode: that flag is set on the layers alone, so that dropout, which
    is below them, stays off. Raises CoreError `checkpointing_unavailable`.
    """
    layers = _layers(model)
    if not layers:
        raise CoreError(
            "checkpointing_unavailable", "training.checkpointing: this architecture cannot recompute its activations"
        )
    # no dropout is active, so that there is no random state to keep
    again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
    for layer in layers:
        layer.gradient_checkpointing, layer._gradient_checkpointing_func, layer.training = True, again, True


def compile_layers(model: PreTrainedModel) -> None:
    """Compiles what is in the backbone's layers beside attention, at the first step; names and weights stay.

    Attention is left as it is: how long the records of a batch are is another in every batch, and would be compiled
    anew. Raises CoreError `compile_unavailable`.
    """
    parts = [part for layer in _layers(model) for name, part in layer.named_children() if "attn" not in name]
    parts = [part for part in parts if any(True for _ in part.parameters())]
    if not parts:
        raise CoreError("compile_unavailable", "training.compile: this architecture has no layers to compile")
    require_compiler(model.device, "compile_unavailable", "training.compile")
    for part in parts:
        part.compile(dynamic=True)


def _layers(model: PreTrainedModel) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
