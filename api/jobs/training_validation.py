"""What a request chooses to train, held against the model as its files' headers describe it: 422 before it is queued.

The names in the files are nearly those in memory. Where they may differ (mixtures of experts, whose weights are put
together as they are loaded), names are left to the worker, which checks them before it trains.
"""

from collections.abc import Callable, Iterator

from api.http.problems import Problem, unprocessable
from core.lm.errors import CoreError
from core.preflight import parameter_counts
from core.schema.adapters import is_refused
from core.schema.jobs import JobRequest
from core.schema.models import ModelShape
from core.schema.training import TrainingRequest
from core.schema.weight_patterns import is_module, is_weight, suggest_names
from core.unlearning.method import Method

_PREFIXES = ("", "model.", "transformer.")


def check(request: JobRequest, method: Method, shape: ModelShape, *, stored: str) -> None:
    """Problem (422): `output`, `lora` and `trainable` contradict each other, the method or the dtype `stored` that
    checkpoints are written in; a pattern names nothing; `max_length` is beyond the model's context."""
    training = request.training
    _has_what_the_method_trains(method, shape)
    _one_choice(request, method, shape)
    if training.master_weights == "bfloat16":
        _bfloat16(training, stored)
    names = list(_names(shape))
    if names and isinstance(training.trainable, list):
        for number, pattern in enumerate(training.trainable):
            _named(f"/training/trainable/{number}", "no-such-layer", pattern, names, is_weight)
    if training.lora is not None and isinstance(training.lora.modules, list):
        _taken_by_peft(training.lora.modules, shape)
    if names and training.lora is not None and isinstance(training.lora.modules, list):
        modules = [name.removesuffix(".weight") for name in _products(shape)]
        for number, pattern in enumerate(training.lora.modules):
            _named(f"/training/lora/modules/{number}", "no-such-modules", pattern, modules, is_module)
    if training.max_length is not None and shape.within_context(training.max_length) < training.max_length:
        detail = f"the model's context is {shape.context} tokens"
        raise unprocessable("/training/max_length", detail, name="max-length-beyond-context")


def _one_choice(request: JobRequest, method: Method, shape: ModelShape) -> None:
    training = request.training
    if training.lora is None:
        if request.output != "full":
            detail = f"'{request.output}' is for jobs that train an adapter: set training.lora"
            raise unprocessable("/output", detail, name="no-adapter")
        return
    if training.trainable is not None and training.trainable != "all":
        detail = "an adapter leaves all weights as they are: it cannot go with chosen ones"
        raise _two_choices("/training/trainable", detail)
    if method.trained_weights(shape.layers) is not None:
        detail = f"the method '{method.name}' chooses the weights that it trains: it cannot train an adapter"
        raise _two_choices("/training/lora", detail)


def _has_what_the_method_trains(method: Method, shape: ModelShape) -> None:
    try:
        patterns = method.trained_weights(shape.layers)
    except CoreError as error:
        raise unprocessable("/method", error.message, name="no-such-layer") from None
    if patterns is None or not shape.tensors:
        return
    for group in shape.tensors:
        for name in parameter_counts.expand_names(group, shape.layers):
            if any(is_weight(name, pattern) for pattern in patterns):
                return
    detail = (
        f"the method '{method.name}' trains the MLPs' down-projections of a few layers, and {shape.architecture} has"
        " none there by any name it knows: choose a method that trains all weights"
    )
    raise unprocessable("/method", detail, name="no-such-layer")


def _taken_by_peft(patterns: list[str], shape: ModelShape) -> None:
    modules = [name.removesuffix(".weight") for name in _products(shape)]
    for number, pattern in enumerate(patterns):
        meant = [name for name in modules if is_module(name, pattern)]
        if meant and all(is_refused(shape.architecture, name) for name in meant):
            detail = f"peft takes no adapter for '{pattern}' in {shape.architecture}: name other modules"
            raise unprocessable(f"/training/lora/modules/{number}", detail, name="unsupported-modules")


def _two_choices(pointer: str, detail: str) -> Problem:
    return unprocessable(pointer, detail, name="two-choices")


def _bfloat16(training: TrainingRequest, stored: str) -> None:
    pointer = "/training/master_weights"
    if stored != "bfloat16":
        detail = f"the model's weights are stored in {stored}: bfloat16 would round them before anything is trained"
        raise unprocessable(pointer, detail, name="master-weights-too-coarse")
    if training.precision == "float32":
        raise _two_choices(pointer, "weights held in bfloat16 are multiplied in it: leave 'precision' at 'auto'")


def _names(shape: ModelShape) -> Iterator[str]:
    """Every weight's name as the model may have it in memory; none where that cannot be told."""
    if any(group.name.count("*") > 1 or "experts" in group.name for group in shape.tensors):
        return
    for group in shape.tensors:
        for number in range(group.first, group.first + group.count):
            for prefix in _PREFIXES:
                yield prefix + group.name.replace("*", str(number))
    if shape.tied:
        yield "lm_head.weight"


def _products(shape: ModelShape) -> Iterator[str]:
    """The names of the matrices that are neither embedding nor head."""
    for group in shape.tensors:
        if len(group.shape) == 2 and group.shape[0] != shape.vocabulary:
            for number in range(group.first, group.first + group.count):
                yield group.name.replace("*", str(number))


def _named(pointer: str, name: str, pattern: str, names: list[str], means: Callable[[str, str], bool]) -> None:
    if any(means(one, pattern) for one in names):
        return
    raise unprocessable(
        pointer, f"the model has nothing of the name '{pattern}'{suggest_names(pattern, names)}", name=name
    )
