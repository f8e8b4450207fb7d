"""The catalogue of methods: each subclass of `Method` in a file of this folder. Importing it loads no torch."""

import importlib
import math
import pkgutil
from typing import Any, get_args

from core.schema.errors import DomainError, Identifier
from core.schema.training import Training, TrainingRequest
from core.unlearning.defence_conflicts import find_conflict
from core.unlearning.method import Method, Recipe
from core.unlearning.schedule import steps_per_epoch

_SMALL_PARAMETERS, _LARGE_PARAMETERS = 2e7, 1e9
FEWEST_TUNED_UPDATES = 20
"""Updates that a tuned training may take at least. It stops by itself; ten would be few for a single record."""
MANY_TUNED_UPDATES = 80
"""Updates that a tuned training of a model of more than 20 million weights takes by steps of fewer records, within the
recipe's epochs. What the first updates harm, later ones repair: by 20 updates of twelve records, a model of 135 million
weights came to a forget perplexity of 2.9, by 80 of three to 5.1, with the same harm to the text to keep."""

MOST_TUNED_EPOCHS = 18
"""Epochs of such a training at most: its steps take so few records that further epochs cost more than they bring."""


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
    recipe's (from a billion on). All other settings are the nearer recipe's. A method's defence against relearning
    that does not go with the other settings is left out. Raises UnknownMethod.
    """
    if method not in METHODS:
        raise UnknownMethod(method)
    small, large = METHODS[method].small, METHODS[method].large
    size = math.log(max(parameters, 1) / _SMALL_PARAMETERS) / math.log(_LARGE_PARAMETERS / _SMALL_PARAMETERS)
    size = min(1.0, max(0.0, size))
    nearer: Recipe = small if size < 0.5 else large
    rate = small.learning_rate ** (1 - size) * large.learning_rate**size
    filled = nearer.model_dump() | {
        "learning_rate": float(f"{rate:.2g}"),
        "tune": "auto" if METHODS[method].tunable and request.learning_rate is None else "off",
        "records_per_step": max(1, min(nearer.records_per_step, forget_records)),
        "optimizer": "adamw",
        "chat": "auto",
        "precision": "auto",
        "seed": 0,
    }
    filled |= request.model_dump(exclude_none=True)
    if filled["tune"] == "auto" and request.epochs is None:
        if request.records_per_step is None and parameters > _SMALL_PARAMETERS:
            filled["epochs"] = min(filled["epochs"], MOST_TUNED_EPOCHS)
            most = forget_records * filled["epochs"] // MANY_TUNED_UPDATES
            filled["records_per_step"] = max(1, min(filled["records_per_step"], most))
        per_epoch = steps_per_epoch(max(1, forget_records), filled["records_per_step"])
        filled["epochs"] = max(filled["epochs"], math.ceil(FEWEST_TUNED_UPDATES / per_epoch))
    training = Training.model_validate(filled)
    conflict = find_conflict(
        training.relearning_defence, METHODS[method], master_weights=training.master_weights, gpus=gpus
    )
    if request.relearning_defence is None and conflict is not None:
        training.relearning_defence = "none"
    return training
