"""What a policy has to have measured, and by which parameters a request would have it show less. Without torch."""

from collections.abc import Callable, Sequence

from core.evaluation.measurement import Measurement, OnePass, ProducedFigures
from core.evaluation.measurements import MEASUREMENTS
from core.evaluation.measurements.change import COMPARED_SETS
from core.schema.evaluation import CutShort, MeasurementChoice
from core.schema.policies import Bound, Policy

_BUDGET = frozenset({"seconds", "records"})
"""What makes a figure less sure, as its interval says, but not another one."""


def measurements_of(bound: Bound) -> tuple[str, ...]:
    """The names of the measurements that make the bound's figure and what it is judged by."""
    if bound.attack is not None:
        return _maker(lambda one: bound.attack in one.attacks), "baseline"
    if bound.curve is not None:
        return (_maker(lambda one: bound.curve in one.curves),)
    if bound.benchmark is not None:
        return ("benchmarks",)
    if bound.across is not None:
        return (_maker(lambda one: bound.across in one.across),)
    figure, name, variant = bound.figure, bound.set, bound.variant
    found = _maker(lambda one: bool(figure and name and one.includes(figure, name, variant)))
    if bound.variant is not None:
        return found, "likelihood"
    return (found, "change") if bound.against == "before" and bound.set in COMPARED_SETS else (found,)


def _maker(makes: Callable[[ProducedFigures], bool]) -> str:
    return next(name for name, one in MEASUREMENTS.items() if makes(one.produces))


def needed(policy: Policy, *, retrained: bool) -> list[str | MeasurementChoice]:
    """What has to be measured for a verdict, each once; `retrained`: whether there is a retrained model."""
    found: dict[str, str | MeasurementChoice] = {}
    tasks = [bound.benchmark for bound in policy.bounds if bound.benchmark is not None]
    for bound in policy.bounds:
        if bound.curve is not None and bound.against == "retrained" and not retrained:
            continue  # there is nothing to hold it against
        for name in measurements_of(bound):
            found[name] = name
    if tasks:
        found["benchmarks"] = MeasurementChoice.model_validate({"name": "benchmarks", "tasks": sorted(set(tasks))})
    return list(found.values())


def missing(measurements: Sequence[Measurement], policy: Policy, *, retrained: bool) -> list[str | MeasurementChoice]:
    """What the policy needs beside the measurements that were chosen."""
    names = {one.name for one in measurements}
    return [one for one in needed(policy, retrained=retrained) if named(one) not in names]


def named(choice: str | MeasurementChoice) -> str:
    return choice if isinstance(choice, str) else choice.name


def looser(measurement: Measurement, than: Measurement | None = None) -> list[str]:
    """The parameters by which a measurement would show less than at its defaults, or than another one like it: they are
    smaller, or another choice.

    Budgets are none of them: what they cut, the interval shows. But what looks at all records by default must do so:
    one that holds everything is not to be found by a sample.
    """
    found = []
    for name, field in type(measurement).model_fields.items():
        if field.is_required():
            continue
        default, value = field.get_default(call_default_factory=True), getattr(measurement, name)
        if value == default:
            continue
        default = default if than is None else getattr(than, name)
        if name in _BUDGET and (default is not None or not isinstance(measurement, OnePass)):
            continue
        numbers = isinstance(default, int | float) and isinstance(value, int | float)
        if value < default if numbers else value != default:
            found.append(name)
    return found


def cut(bound: Bound, found: Sequence[CutShort]) -> bool:
    """Whether what makes the bound's figure looked at less than it does by default."""
    names = measurements_of(bound)
    return any(one.measurement in names and _under_default(one) for one in found)


def _under_default(one: CutShort) -> bool:
    limit = MEASUREMENTS[one.measurement].model_fields["records"].default
    return one.reason == "seconds" or limit is None or one.done < limit
