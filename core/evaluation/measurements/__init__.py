"""The catalogue: each subclass of `Measurement` in a file of this folder. Importing it loads no torch."""

import importlib
import pkgutil
from collections.abc import Sequence

from core.evaluation.measurement import Measurement
from core.schema.errors import DomainError, Identifier
from core.schema.evaluation import MeasurementChoice


def _found() -> dict[str, type[Measurement]]:
    measurements = {}
    for file in sorted(pkgutil.iter_modules(__path__), key=lambda one: one.name):
        module = importlib.import_module(f"{__name__}.{file.name}")
        for member in vars(module).values():
            if isinstance(member, type) and issubclass(member, Measurement) and member.__module__ == module.__name__:
                measurements[member.name] = member
    return measurements


MEASUREMENTS: dict[str, type[Measurement]] = _found()
GROUPS = ("standard", "thorough")


class UnknownMeasurement(DomainError, ValueError):
    """There is no measurement, nor a group of them, of that name."""

    status, problem, pointer = 422, "unknown-measurement", "/evaluation/measure"

    def __init__(self, name: Identifier) -> None:
        self.detail = f"there is no measurement '{name}': choose of {', '.join((*GROUPS, *MEASUREMENTS))}"
        super().__init__()


def chosen(choices: Sequence[str | MeasurementChoice]) -> list[Measurement]:
    """The measurements that are meant, each once, in the order in which they are made.

    A group's name stands for its measurements at their defaults; one that is named with parameters has these.
    Raises UnknownMeasurement, or pydantic's ValidationError.
    """
    found: dict[str, Measurement] = {}
    for choice in choices:
        name = choice if isinstance(choice, str) else choice.name
        if name in GROUPS:
            for one in MEASUREMENTS.values():
                if one.group == "standard" or (one.group is not None and name == "thorough"):
                    found.setdefault(one.name, one())
        elif name not in MEASUREMENTS:
            raise UnknownMeasurement(name)
        else:
            parameters = {} if isinstance(choice, str) else choice.parameters
            found[name] = MEASUREMENTS[name].model_validate(parameters).named()
    names = list(MEASUREMENTS)
    return sorted(found.values(), key=lambda one: (one.attacks, one.spoils, one.order, names.index(one.name)))
