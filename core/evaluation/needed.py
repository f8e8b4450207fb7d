"""What a policy has to have measured, and by which parameters a request would have it show less. Without torch."""

from collections.abc import Sequence

from core.evaluation.measurement import Measurement
from core.evaluation.measurements import MEASUREMENTS
from core.evaluation.measurements.change import SETS as CHANGING
from core.schema.evaluation import CutShort, MeasurementChoice
from core.schema.policies import Bound, Policy

_OF_SETS = {
    "perplexity": "likelihood",
    "perplexity_tokens": "likelihood",
    "accuracy": "likelihood",
    "probability": "likelihood",
    "exact_memorization": "likelihood",
    "extraction_strength": "likelihood",
    "extraction_strength_highest": "likelihood",
    "cloze": "cloze",
    "cloze_sampled": "cloze",
    "cloze_fill": "cloze_fill",
    "truth_ratio": "truth_ratio",
}
_FAMILIES = ("verbatim", "sampled_leak", "prefix", "paraphrase", "exposure", "fluency", "privleak")
"""Measurements whose figures' names begin with theirs."""

_ACROSS = {"baseline_auc": "baseline", "relearned_half_steps": "relearned"}
_ATTACKS = {"gradnorm": "gradnorm", "reference": "reference_attack"}

_BUDGET = frozenset({"seconds", "records"})
"""What makes a figure less sure, as its interval says, but not another one."""


def measurements_of(bound: Bound) -> tuple[str, ...]:
    """The names of the measurements that make the bound's figure and what it is judged by."""
    if bound.attack is not None:
        return _ATTACKS.get(bound.attack, "membership"), "baseline"
    if bound.curve is not None:
        return ("relearned",)
    if bound.benchmark is not None:
        return ("benchmarks",)
    if bound.across is not None:
        return (_ACROSS.get(bound.across) or _family(bound.across),)
    if bound.variant is not None:
        return "quantized", "likelihood"
    figure = bound.figure or ""
    found = _OF_SETS.get(figure) or _family(figure)
    if found == "verbatim" and bound.set == "retain":
        found = "verbatim_retain"
    return (found, "change") if bound.against == "before" and bound.set in CHANGING else (found,)


def _family(figure: str) -> str:
    return next((name for name in _FAMILIES if figure.startswith(f"{name}_")), figure)


def needed(policy: Policy, *, reference: bool) -> list[str | MeasurementChoice]:
    """What has to be measured for a verdict, each once; `reference`: whether there is a retrained model."""
    found: dict[str, str | MeasurementChoice] = {}
    tasks = [bound.benchmark for bound in policy.bounds if bound.benchmark is not None]
    for bound in policy.bounds:
        if bound.curve is not None and bound.against == "retrained" and not reference:
            continue  # there is nothing to hold it against
        for name in measurements_of(bound):
            found[name] = name
    if tasks:
        found["benchmarks"] = MeasurementChoice.model_validate({"name": "benchmarks", "tasks": sorted(set(tasks))})
    return list(found.values())


def missing(measurements: Sequence[Measurement], policy: Policy, *, reference: bool) -> list[str | MeasurementChoice]:
    """What the policy needs beside the measurements that were chosen."""
    names = {one.name for one in measurements}
    return [one for one in needed(policy, reference=reference) if named(one) not in names]


def named(choice: str | MeasurementChoice) -> str:
    return choice if isinstance(choice, str) else choice.name


def looser(measurement: Measurement) -> list[str]:
    """The parameters by which a measurement would show less than at its defaults: they are smaller, or another choice.

    Budgets are none of them: what they cut, the interval shows.
    """
    found = []
    for name, field in type(measurement).model_fields.items():
        if name in _BUDGET or field.is_required():
            continue
        default, value = field.get_default(call_default_factory=True), getattr(measurement, name)
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
