"""The catalogue of methods: each subclass of `Method` in a file of this folder. Importing it loads no torch."""

import importlib
import math
import pkgutil
from typing import Any, get_args

from core.schema.errors import DomainError, Identifier
from core.schema.training import Training, TrainingRequest
from core.unlearning.method import Method, Recipe
from core.unlearning.step_fitting import SMALL_PARAMETERS, Steps, fit_steps
from core.unlearning.training_conflicts import find_defence_conflict

_LARGE_PARAMETERS = 1e9


def _discovered() -> dict[str, type[Method]]:
    methods = {}
    for file in sorted(pkgutil.iter_modules(__path__), key=lambda file: file.name):
        module = importlib.import_module(f"{__name__}.{file.name}")
        for member in vars(module).values():
            if isinstance(member, type) and issubclass(member, Method) and member.__module__ == module.__name__:
                methods[member.name] = member
    return methods


METHODS: dict[str, type[Method]] = _discovered()


class UnknownMethod(DomainError, ValueError):
    """There is no method of that name."""

    status, problem, pointer = 422, "unknown-method", "/method"

    def __init__(self, name: Identifier) -> None:
        self.detail = f"there is no method '{name}': choose one of {', '.join(METHODS)}"
        super().__init__()


def resolve(name: str, parameters: dict[str, Any]) -> Method:
    """Returns the method with validated parameters, gaps filled. Raises UnknownMethod, pydantic's ValidationError."""
    if name not in METHODS:
        raise UnknownMethod(name)
    return METHODS[name].model_validate(parameters)


def describe(name: str) -> dict[str, Any]:
    """Describes a method as `GET /v1/methods/{name}` shows it. Raises UnknownMethod."""
    method = resolve(name, {})
    schema = type(method).model_json_schema()
    schema.pop("description", None)
    return {
        "name": name,
        "summary": method.summary,
        "formula": method.formula,
        "needs": sorted(method.needs()),
        "retain_terms": list(get_args(type(method).model_fields["retain_term"].annotation)),
        "parameters": schema,
        "defaults": method.model_dump(mode="json"),
        "training_defaults": {"small": method.small.model_dump(), "large": method.large.model_dump()},
        "source": method.paper.model_dump(),
    }


def fill_training(
    request: TrainingRequest, method: str, *, parameters: int, forget_records: int, gpus: int = 0
) -> Training:
    """Fills the request's gaps by the method's recipe for a model of `parameters` weights.

    The learning rate is interpolated geometrically between the small recipe's (up to 20 million weights) and the large
    recipe's (from a billion on). All other settings are the nearer recipe's. A recipe's defence against relearning is
    left out if it conflicts with the other settings, if the training is not tuned, and for models of more than 20
    million weights, whose trainings are slow enough without it. On several GPUs, a recipe's projection of gradients is
    left out. Raises UnknownMethod.
    """
    if method not in METHODS:
        raise UnknownMethod(method)
    small, large = METHODS[method].small, METHODS[method].large
    size = _relative_size(parameters)
    rate = small.learning_rate ** (1 - size) * large.learning_rate**size
    filled = _nearer_recipe(method, parameters).model_dump() | {
        "learning_rate": float(f"{rate:.2g}"),
        "tune": "auto" if METHODS[method].tunable and request.learning_rate is None else "off",
        "optimizer": "adamw",
        "chat": "auto",
        "precision": "auto",
        "seed": 0,
    }
    filled |= request.model_dump(exclude_none=True)
    steps = fit_steps(
        recipe_steps(method, parameters),
        epochs=request.epochs,
        records_per_step=request.records_per_step,
        tuned=filled["tune"] == "auto",
        parameters=parameters,
        forget_records=forget_records,
    )
    filled |= steps.model_dump()
    training = Training.model_validate(filled)
    conflict = find_defence_conflict(
        training.relearning_defence, METHODS[method], master_weights=training.master_weights, gpus=gpus
    )
    undefended = conflict is not None or training.tune == "off" or parameters > SMALL_PARAMETERS
    if request.relearning_defence is None and undefended:
        training.relearning_defence = "none"
    if request.conflicting_gradients is None and gpus > 1:
        training.conflicting_gradients = "add"
    return training


def recipe_steps(method: str, parameters: int) -> Steps:
    """Returns what the method's recipe for a model of `parameters` weights says before it is fitted to a forget set."""
    recipe = _nearer_recipe(method, parameters)
    return Steps(epochs=recipe.epochs, records_per_step=recipe.records_per_step)


def _relative_size(parameters: int) -> float:
    """0 for a small model, 1 for a large one, by the logarithm of the weights between."""
    size = math.log(max(parameters, 1) / SMALL_PARAMETERS) / math.log(_LARGE_PARAMETERS / SMALL_PARAMETERS)
    return min(1.0, max(0.0, size))


def _nearer_recipe(method: str, parameters: int) -> Recipe:
    return METHODS[method].small if _relative_size(parameters) < 0.5 else METHODS[method].large
