"""The catalogue of measurements: every subclass of `Measurement` in this folder. Importing it loads no torch."""

import importlib
import pkgutil
from collections.abc import Sequence
from typing import get_args

from core.evaluation.measurement import Group, Measurement
from core.schema.errors import DomainError, Identifier
from core.schema.evaluation import MeasurementChoice


def _discover() -> dict[str, type[Measurement]]:
    measurements = {}
    for file in sorted(pkgutil.iter_modules(__path__), key=lambda file: file.name):
        module = importlib.import_module(f"{__name__}.{file.name}")
        for member in vars(module).values():
            if isinstance(member, type) and issubclass(member, Measurement) and member.__module__ == module.__name__:
                measurements[member.name] = member
    return measurements


MEASUREMENTS: dict[str, type[Measurement]] = _discover()
GROUPS: tuple[Group, ...] = get_args(Group)


class UnknownMeasurement(DomainError, ValueError):
    """There is no measurement, nor a group of them, of that name."""

    status, problem, pointer = 422, "unknown-measurement", "/evaluation/measure"

    def __init__(self, name: Identifier) -> None:
        self.detail = f"there is no measurement '{name}': choose of {', '.join((*GROUPS, *MEASUREMENTS))}"
        super().__init__()


def resolve_measurements(choices: Sequence[str | MeasurementChoice]) -> list[Measurement]:
    """The chosen measurements, each once, in the order in which they run.

    A group's name stands for its measurements with the group's parameters, of two groups the larger one's; parameters
    given by name take precedence.
    Raises UnknownMeasurement, or pydantic's ValidationError.
    """
    chosen: dict[str, Measurement] = {}
    names = [choice if isinstance(choice, str) else choice.name for choice in choices]
    group: Group
    for group in GROUPS:  # the larger one last
        if group in names:
            kinds = [kind for kind in MEASUREMENTS.values() if kind.group in ("standard", group)]
            chosen |= {kind.name: kind.for_group(group) for kind in kinds}
    for choice, name in zip(choices, names, strict=True):
        if name in GROUPS:
            continue
        if name not in MEASUREMENTS:
            raise UnknownMeasurement(name)
        parameters = {} if isinstance(choice, str) else choice.parameters
        chosen[name] = MEASUREMENTS[name].model_validate(parameters).mark_chosen_by_name()
    order = list(MEASUREMENTS)

    def position(measurement: Measurement) -> tuple[bool, bool, int, int]:
        return measurement.is_attack, measurement.changes_weights, measurement.order, order.index(measurement.name)

    return sorted(chosen.values(), key=position)
