"""What of a model is trained: all of it, weights chosen by name, or an adapter."""

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
from core.schema.weight_patterns import is_weight, suggest_names
from core.unlearning.method import Method


def select_parameters(model: PreTrainedModel, training: Training, only: Sequence[str] | None) -> list[nn.Parameter]:
    """Freezes what is not to be trained, puts an adapter in where one is asked for, and returns what is left.

    `only` are the patterns of a method that trains chosen weights whatever the request says; they name the weights of
    many families of models, so that some of them matching is enough. Raises CoreError
    `no_such_layer`, `no_such_modules`, `unsupported_modules`, and `two_choices` where an adapter meets chosen weights.
    """
    if training.lora is not None:
        _one_choice(training, only)
        adapter.attach(model, training.lora)
    else:
        chosen = {id(weight) for weight in _chosen(model, training, only)}
        for weight in model.parameters():
            weight.requires_grad_(id(weight) in chosen)
    return [weight for weight in model.parameters() if weight.requires_grad]


def check_selection(
    model: PreTrainedModel,
    training: Training,
    only: Sequence[str] | None,
    *,
    layer: int | None = None,
    delivered: bool = False,
) -> dict[str, str]:
    """The errors of `choose`, without changing anything, and why parts of the model get no adapter, by their names.

    `layer` is the one whose states the method looks at: raises CoreError `no_residual_stream` where the model has none
    of the usual form. `delivered`: peft is to read the adapter, else CoreError `unreadable_adapter`.
    """
    if layer is not None:
        _states(model, layer)
    if training.lora is not None:
        _one_choice(training, only)
        return adapter.check(model, training.lora, delivered=delivered)
    _chosen(model, training, only)
    return {}


def _one_choice(training: Training, only: Sequence[str] | None) -> None:
    if only is not None or training.trainable != "all":
        message = "an adapter (training.lora) leaves all weights as they are: it cannot go with chosen ones"
        raise CoreError("two_choices", message)


@torch.no_grad()
def _states(model: PreTrainedModel, layer: int) -> None:
    ids, caught = trial_tokens(model), list[Tensor]()
    failures = (LayerReached, AttributeError, IndexError, RuntimeError, TypeError)
    with suppress(*failures), stopping_after(model, layer, caught):
        model(input_ids=ids, use_cache=False)
    width = getattr(model.config.get_text_config(), "hidden_size", None)
    if not caught or caught[0].shape != (*ids.shape, width):
        message = (
            f"the method works on the states after a layer, and {type(model).__name__} has no single stream of them:"
            f" choose one that works on predictions, such as {_others()}"
        )
        raise CoreError("no_residual_stream", message)


def _others() -> str:
    """The methods that train all weights, by name."""
    from core.unlearning.objectives import METHODS

    return ", ".join(name for name, method in METHODS.items() if method.trained_weights is Method.trained_weights)


def _chosen(model: PreTrainedModel, training: Training, only: Sequence[str] | None) -> list[nn.Parameter]:
    # a weight that two modules share goes by the names of both
    named = list(model.named_parameters(remove_duplicate=False))
    found: list[nn.Parameter] = []
    if only is not None:
        found = [weight for name, weight in named if any(is_weight(name, pattern) for pattern in only)]
        if not found:
            message = (
                f"the method trains the MLPs' down-projections of a few layers, and {type(model).__name__} has none"
                f" there by any name it knows: choose a method that trains all weights, such as {_others()}"
            )
            raise CoreError("no_such_layer", message)
        return found
    for pattern in ["*"] if training.trainable == "all" else training.trainable:
        some = [weight for name, weight in named if is_weight(name, pattern)]
        if not some:
            names = suggest_names(pattern, (name for name, _ in named))
            raise CoreError("no_such_layer", f"training.trainable: no weight of the model is named '{pattern}'{names}")
        found += some
    return found
