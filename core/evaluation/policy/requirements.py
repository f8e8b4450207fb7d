"""The measurements that a policy requires, and the parameters by which a request would weaken them. Without torch."""

from collections.abc import Callable, Sequence

from core.evaluation.measurement import Measurement, OnePass, ProducedFigures
from core.evaluation.measurements import MEASUREMENTS
from core.evaluation.measurements.change import COMPARED_SETS
from core.schema.evaluation import CutShort, MeasurementChoice
from core.schema.figure_names import RELEARNED_BESIDE_RETRAINED
from core.schema.policies import Bound, Policy

_BUDGET = frozenset({"seconds", "records"})
"""Parameters that make a figure less certain, as its interval shows, without changing its definition."""


def measurements_of(bound: Bound) -> tuple[str, ...]:
    """The names of the measurements that make the bound's figure and the figures that it is judged by."""
    if bound.attack is not None:
        return _maker(lambda produced: bound.attack in produced.attacks), "baseline"
    if bound.curve is not None:
        return (_maker(lambda produced: bound.curve in produced.curves),)
    if bound.benchmark is not None:
        return ("benchmarks",)
    if bound.across is not None:
        return (_maker(lambda produced: bound.across in produced.across),)
    figure, name, variant = bound.figure, bound.set, bound.variant
    maker = _maker(lambda produced: bool(figure and name and produced.includes(figure, name, variant)))
    if bound.variant is not None:
        return maker, "likelihood"
    return (maker, "change") if bound.against == "before" and bound.set in COMPARED_SETS else (maker,)


def _maker(produces: Callable[[ProducedFigures], bool]) -> str:
    return next(name for name, measurement in MEASUREMENTS.items() if produces(measurement.produces))


def required_measurements(policy: Policy, *, retrained: bool) -> list[str | MeasurementChoice]:
    """The measurements that a verdict requires, each once. `retrained`: whether the job names a retrained model."""
    required: dict[str, str | MeasurementChoice] = {}
    tasks = [bound.benchmark for bound in policy.bounds if bound.benchmark is not None]
    for bound in policy.bounds:
        compares_curves = bound.curve is not None and bound.against == "retrained"
        if (compares_curves or bound.across in RELEARNED_BESIDE_RETRAINED) and not retrained:
            continue  # there is no model to compare with
        for name in measurements_of(bound):
            required[name] = name
    if tasks:
        required["benchmarks"] = MeasurementChoice.model_validate({"name": "benchmarks", "tasks": sorted(set(tasks))})
    return list(required.values())


def unmet_requirements(
    measurements: Sequence[Measurement], policy: Policy, *, retrained: bool
) -> list[str | MeasurementChoice]:
    """The measurements that the policy requires and that are not among the chosen ones."""
    names = {measurement.name for measurement in measurements}
    required = required_measurements(policy, retrained=retrained)
    return [choice for choice in required if choice_name(choice) not in names]


def choice_name(choice: str | MeasurementChoice) -> str:
    return choice if isinstance(choice, str) else choice.name


def weaker_parameters(measurement: Measurement, than: Measurement | None = None) -> list[str]:
    """The parameters by which a measurement shows less than at its defaults, or than `than`: a smaller number (of
    `smaller_shows_more` a larger one), a part of what it measures by default, or another choice.

    A budget is not among them: the interval shows what it cuts. But a measurement that looks at all records by default
    must look at all: a sample can miss the one record that the model holds.
    """
    weaker = []
    for name, field in type(measurement).model_fields.items():
        if field.is_required():
            continue
        default, value = field.get_default(call_default_factory=True), getattr(measurement, name)
        if value == default:
            continue
        default = default if than is None else getattr(than, name)
        if name in _BUDGET and (default is not None or not isinstance(measurement, OnePass)):
            continue
        if not _shows_more(value, than=default, smaller=name in measurement.smaller_shows_more):
            weaker.append(name)
    return weaker


def _shows_more(value: object, *, than: object, smaller: bool) -> bool:
    """True if a measurement with `value` is at least as strict as one with `than`; an empty list is every choice."""
    if isinstance(value, int | float) and isinstance(than, int | float):
        return value <= than if smaller else value >= than
    return isinstance(value, tuple) and isinstance(than, tuple) and bool(than) and set(than) <= set(value)


def was_cut_short(bound: Bound, cuts: Sequence[CutShort]) -> bool:
    """Whether a measurement that makes the bound's figure looked at fewer records than it does by default."""
    names = measurements_of(bound)
    return any(cut.measurement in names and _below_default(cut) for cut in cuts)


def _below_default(cut: CutShort) -> bool:
    limit = MEASUREMENTS[cut.measurement].model_fields["records"].default
    return cut.reason == "seconds" or limit is None or cut.done < limit
