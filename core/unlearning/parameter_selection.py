"""The parameters that a job trains: all weights, weights chosen by name, or an adapter."""

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from core.lm import adapter
from core.lm.adapter_effect import trial_tokens
from core.lm.errors import CoreError
from core.lm.residual_stream import LayerReached, stopping_after
from core.schema.training import Training
from core.schema.weight_patterns import matches_weight, suggest_names
from core.unlearning.method import Method


def select_parameters(model: PreTrainedModel, training: Training, only: Sequence[str] | None) -> list[nn.Parameter]:
    """Freezes the other parameters, attaches an adapter where the request has one, and returns the trained parameters.

    `only` are the name patterns of a method that trains chosen weights whatever the request says. They cover many model
    families, so it is enough that some match. Raises CoreError `no_such_layer`, `no_such_modules`,
    `unsupported_modules`, and `two_choices` for an adapter together with chosen weights.
    """
    if training.lora is not None:
        _refuse_two_choices(training, only)
        adapter.attach(model, training.lora)
    else:
        selected = {id(weight) for weight in _selected_weights(model, training, only)}
        for weight in model.parameters():
            weight.requires_grad_(id(weight) in selected)
    return [weight for weight in model.parameters() if weight.requires_grad]


def check_selection(
    model: PreTrainedModel,
    training: Training,
    only: Sequence[str] | None,
    *,
    layer: int | None = None,
    delivered: bool = False,
) -> dict[str, str]:
    """Raises the errors of `select_parameters` without changing the model; returns why modules get no adapter, by name.

    `layer` is the layer whose states the method uses: raises CoreError `no_residual_stream` where the model has no
    residual stream of the usual form there. `delivered`: the adapter itself is the checkpoint; raises CoreError
    `unreadable_adapter` where peft could not read it.
    """
    if layer is not None:
        _require_residual_stream(model, layer)
    if training.lora is not None:
        _refuse_two_choices(training, only)
        return adapter.check(model, training.lora, delivered=delivered)
    _selected_weights(model, training, only)
    return {}


def _refuse_two_choices(training: Training, only: Sequence[str] | None) -> None:
    if only is not None or training.trainable != "all":
        message = "an adapter (training.lora) leaves all weights as they are: it cannot go with chosen ones"
        raise CoreError("two_choices", message)


@torch.no_grad()
def _require_residual_stream(model: PreTrainedModel, layer: int) -> None:
    ids, caught = trial_tokens(model), list[Tensor]()
    failures = (LayerReached, AttributeError, IndexError, RuntimeError, TypeError)
    with suppress(*failures), stopping_after(model, layer, caught):
        model(input_ids=ids, use_cache=False)
    width = getattr(model.config.get_text_config(), "hidden_size", None)
    if not caught or caught[0].shape != (*ids.shape, width):
        message = (
            f"the method works on the states after a layer, and {type(model).__name__} has no single stream of them:"
            f" choose one that works on predictions, such as {_all_weight_methods()}"
        )
        raise CoreError("no_residual_stream", message)


def _all_weight_methods() -> str:
    """The names of the methods that train all weights."""
    from core.unlearning.objectives import METHODS

    return ", ".join(name for name, method in METHODS.items() if method.trained_weights is Method.trained_weights)


def _selected_weights(model: PreTrainedModel, training: Training, only: Sequence[str] | None) -> list[nn.Parameter]:
    # a weight that two modules share has both names
    named = list(model.named_parameters(remove_duplicate=False))
    if only is not None:
        weights = [weight for name, weight in named if any(matches_weight(name, pattern) for pattern in only)]
        if not weights:
            message = (
                f"the method trains the MLPs' down-projections of a few layers, and {type(model).__name__} has none"
                f" there by any name it knows: choose a method that trains all weights, such as {_all_weight_methods()}"
            )
            raise CoreError("no_such_layer", message)
        return weights
    weights = []
    for pattern in ["*"] if training.trainable == "all" else training.trainable:
        matching = [weight for name, weight in named if matches_weight(name, pattern)]
        if not matching:
            names = suggest_names(pattern, (name for name, _ in named))
            raise CoreError("no_such_layer", f"training.trainable: no weight of the model is named '{pattern}'{names}")
        weights += matching
    return weights
