"""Checks of a request's training options against the model, as the headers of its files describe it.

The names of weights in the files are nearly those in memory. Where they may differ (mixtures of experts, whose weights
are joined as they are loaded), the worker checks the names before it trains.
"""

from collections.abc import Callable, Iterator

from api.http.problems import Problem, unprocessable
from core.lm.errors import CoreError
from core.preflight import parameter_counts
from core.schema.adapters import is_refused
from core.schema.jobs import JobRequest
from core.schema.models import ModelShape
from core.schema.training import TrainingRequest
from core.schema.weight_patterns import matches_module, matches_weight, suggest_names
from core.unlearning.method import Method
from core.unlearning.training_conflicts import find_defence_conflict, find_projection_conflict

_PREFIXES = ("", "model.", "transformer.")


def check_training(request: JobRequest, method: Method, shape: ModelShape, *, stored: str) -> None:
    """Problem (422): `output`, `lora` and `trainable` contradict each other, the method, or `stored`, the dtype of
    checkpoints; a pattern matches nothing; `max_length` is beyond the model's context; the method cannot be tuned."""
    training = request.training
    if training.tune == "auto" and not method.tunable:
        detail = f"'{method.name}' delivers no state of its training: only its last weights tell how far to move back"
        raise _contradiction("/training/tune", detail)
    _check_trained_weights(method, shape)
    _check_adapter_options(request, method, shape)
    if training.master_weights == "bfloat16":
        _check_bfloat16_weights(training, stored)
    _check_forget_gradient(request, method)
    names = list(_weight_names(shape))
    if names and isinstance(training.trainable, list):
        for number, pattern in enumerate(training.trainable):
            _check_pattern(f"/training/trainable/{number}", "no-such-layer", pattern, names, matches_weight)
    if training.lora is not None and isinstance(training.lora.modules, list):
        _check_peft_support(training.lora.modules, shape)
    if names and training.lora is not None and isinstance(training.lora.modules, list):
        modules = [name.removesuffix(".weight") for name in _linear_weight_names(shape)]
        for number, pattern in enumerate(training.lora.modules):
            _check_pattern(f"/training/lora/modules/{number}", "no-such-modules", pattern, modules, matches_module)
    if training.max_length is not None and shape.within_context(training.max_length) < training.max_length:
        detail = f"the model's context is {shape.context} tokens"
        raise unprocessable("/training/max_length", detail, name="max-length-beyond-context")


def _check_forget_gradient(request: JobRequest, method: Method) -> None:
    training, gpus = request.training, request.resources.gpus or 0
    problem = find_defence_conflict(
        training.relearning_defence or "none",
        type(method),
        master_weights=training.master_weights or "float32",
        gpus=gpus,
    )
    if problem is not None:
        raise _contradiction("/training/relearning_defence", problem)
    problem = find_projection_conflict(training.conflicting_gradients or "add", method, gpus=gpus)
    if problem is not None:
        raise _contradiction("/training/conflicting_gradients", problem)


def _check_adapter_options(request: JobRequest, method: Method, shape: ModelShape) -> None:
    training = request.training
    if training.lora is None:
        if request.output != "full":
            detail = f"'{request.output}' is for jobs that train an adapter: set training.lora"
            raise unprocessable("/output", detail, name="no-adapter")
        return
    if training.trainable is not None and training.trainable != "all":
        detail = "an adapter leaves all weights as they are: it cannot go with chosen ones"
        raise _contradiction("/training/trainable", detail)
    if method.trained_weights(shape.layers) is not None:
        detail = f"the method '{method.name}' chooses the weights that it trains: it cannot train an adapter"
        raise _contradiction("/training/lora", detail)


def _check_trained_weights(method: Method, shape: ModelShape) -> None:
    try:
        patterns = method.trained_weights(shape.layers)
    except CoreError as error:
        raise unprocessable("/method", error.message, name="no-such-layer") from None
    if patterns is None or not shape.tensors:
        return
    for group in shape.tensors:
        for name in parameter_counts.expand_names(group, shape.layers):
            if any(matches_weight(name, pattern) for pattern in patterns):
                return
    detail = (
        f"the method '{method.name}' trains the MLPs' down-projections of a few layers, and {shape.architecture} has"
        " none there by any name it knows: choose a method that trains all weights"
    )
    raise unprocessable("/method", detail, name="no-such-layer")


def _check_peft_support(patterns: list[str], shape: ModelShape) -> None:
    modules = [name.removesuffix(".weight") for name in _linear_weight_names(shape)]
    for number, pattern in enumerate(patterns):
        matching = [name for name in modules if matches_module(name, pattern)]
        if matching and all(is_refused(shape.architecture, name) for name in matching):
            detail = f"peft takes no adapter for '{pattern}' in {shape.architecture}: name other modules"
            raise unprocessable(f"/training/lora/modules/{number}", detail, name="unsupported-modules")


def _contradiction(pointer: str, detail: str) -> Problem:
    return unprocessable(pointer, detail, name="two-choices")


def _check_bfloat16_weights(training: TrainingRequest, stored: str) -> None:
    pointer = "/training/master_weights"
    if stored != "bfloat16":
        detail = f"the model's weights are stored in {stored}: bfloat16 would round them before anything is trained"
        raise unprocessable(pointer, detail, name="master-weights-too-coarse")
    if training.precision == "float32":
        raise _contradiction(pointer, "weights held in bfloat16 are multiplied in it: leave 'precision' at 'auto'")


def _weight_names(shape: ModelShape) -> Iterator[str]:
    """Yields the names that weights may have in memory; none where the files do not tell them."""
    if any(group.name.count("*") > 1 or "experts" in group.name for group in shape.tensors):
        return
    for group in shape.tensors:
        for number in range(group.first, group.first + group.count):
            for prefix in _PREFIXES:
                yield prefix + group.name.replace("*", str(number))
    if shape.tied:
        yield "lm_head.weight"


def _linear_weight_names(shape: ModelShape) -> Iterator[str]:
    """Yields the names of the matrices that are neither embedding nor head."""
    for group in shape.tensors:
        if len(group.shape) == 2 and group.shape[0] != shape.vocabulary:
            for number in range(group.first, group.first + group.count):
                yield group.name.replace("*", str(number))


def _check_pattern(
    pointer: str, name: str, pattern: str, names: list[str], matches: Callable[[str, str], bool]
) -> None:
    if any(matches(weight, pattern) for weight in names):
        return
    raise unprocessable(
        pointer, f"the model has nothing of the name '{pattern}'{suggest_names(pattern, names)}", name=name
    )
