"""What of a model is trained: all of it, weights chosen by name, or an adapter."""

from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedModel

from core.lm import adapter
from core.lm.errors import CoreError
from core.schema.names import is_weight, near
from core.schema.training import Training


def choose(model: PreTrainedModel, training: Training, only: Sequence[str] | None) -> list[nn.Parameter]:
    """Freezes what is not to be trained, puts an adapter in where one is asked for, and returns what is left.

    `only` are the patterns of a method that trains chosen weights whatever the request says; they name the weights of
    many families of models, so that some of them matching is enough. Raises CoreError
    `no_such_layer`, `no_such_modules`, `unsupported_modules`, and `two_choices` where an adapter meets chosen weights.
    """
    if training.lora is not None:
        check(model, training, only)
        adapter.attach(model, training.lora)
    else:
        chosen = {id(weight) for weight in _chosen(model, training, only)}
        for weight in model.parameters():
            weight.requires_grad_(id(weight) in chosen)
    return [weight for weight in model.parameters() if weight.requires_grad]


def check(model: PreTrainedModel, training: Training, only: Sequence[str] | None) -> None:
    """The errors of `choose`, without changing anything."""
    if training.lora is not None:
        if only is not None or training.trainable != "all":
            message = "an adapter (training.lora) leaves all weights as they are: it cannot go with chosen ones"
            raise CoreError("two_choices", message)
        adapter.modules(model, training.lora.modules)
    else:
        _chosen(model, training, only)


def _chosen(model: PreTrainedModel, training: Training, only: Sequence[str] | None) -> list[nn.Parameter]:
    # a weight that two modules share goes by the names of both
    named = list(model.named_parameters(remove_duplicate=False))
    found: list[nn.Parameter] = []
    if only is not None:
        found = [weight for name, weight in named if any(is_weight(name, pattern) for pattern in only)]
        if not found:
            message = "the method trains weights that go by other names in this model: choose a method that trains all"
            raise CoreError("no_such_layer", message)
        return found
    for pattern in ["*"] if training.trainable == "all" else training.trainable:
        some = [weight for name, weight in named if is_weight(name, pattern)]
        if not some:
            names = near(pattern, (name for name, _ in named))
            raise CoreError("no_such_layer", f"training.trainable: no weight of the model is named '{pattern}'{names}")
        found += some
    return found
