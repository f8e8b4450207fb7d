"""The tokens that measurements put through the model, in closed form, and the plan that keeps them within training."""

from collections.abc import Iterator, Sequence
from typing import get_args

from core.evaluation.measurement import Budgeted, Measurement
from core.evaluation.measurements.exposure import Exposure
from core.evaluation.measurements.likelihood import Likelihood
from core.evaluation.measurements.relearned import Relearned
from core.preflight.flops import BACKWARD, flops_per_token, training_flops
from core.preflight.workload import SetSize, Workload
from core.schema.evaluation import SetName

ALWAYS_AFFORDED = 5e12
"""Model FLOPs of measuring that are never cut: about a minute on one core."""


def measuring_tokens(workload: Workload) -> Iterator[tuple[Measurement, float]]:
    """Yields each measurement that is made, with about the tokens that it puts through the model each time.

    These are the tokens of each record of its sets, times the passes over a record that it makes.
    """
    for measurement in planned_measurements(workload):
        yield measurement, _tokens(workload, measurement)


def total_measured_tokens(workload: Workload) -> int:
    """Returns about the tokens of all measurements of all measured models."""
    return workload.measured_models * round(sum(tokens for _, tokens in measuring_tokens(workload)))


def planned_measurements(workload: Workload) -> Sequence[Measurement]:
    """Returns the measurements, cheaper where they would cost more than the job's training.

    The most expensive one takes its next step of `Measurement.cheaper` until all fit, or until no step is left.
    Parameters that the request names stay. A job without training, or whose measurements cost less than
    ALWAYS_AFFORDED, keeps them as they are.
    """
    if "unlearning" not in workload.phases:
        return workload.measurements
    limit = max(ALWAYS_AFFORDED, training_flops(workload)) / flops_per_token(workload.shape)
    planned = list(workload.measurements)
    steps = [list(measurement.cheaper) for measurement in planned]
    while workload.measured_models * sum(_tokens(workload, measurement) for measurement in planned) > limit:
        for place in sorted(range(len(planned)), key=lambda place: -_tokens(workload, planned[place])):
            if cheaper := _next_cheaper(workload, planned[place], steps[place], workload.measurements[place]):
                planned[place] = cheaper
                break
        else:
            break
    return planned


def _next_cheaper(
    workload: Workload, measurement: Measurement, steps: list[dict[str, object]], requested: Measurement
) -> Measurement | None:
    """Returns the measurement after its next step that makes it cheaper; None: there is none. Takes steps away."""
    while steps:
        step = steps.pop(0)
        if requested.model_fields_set.isdisjoint(step):
            cheaper = measurement.model_copy(update=step)
            if _tokens(workload, cheaper) < _tokens(workload, measurement):
                return cheaper
    return None


def _tokens(workload: Workload, measurement: Measurement) -> float:
    sizes = ((name, size) for name, size in _set_sizes(workload) if size.records)
    return sum(_set_tokens(measurement, name, size) for name, size in sizes)


def _set_sizes(workload: Workload) -> Iterator[tuple[str, SetSize]]:
    """Yields each set with its size, files that only measure included."""
    for name in get_args(SetName):
        size = workload.sets.get(name, SetSize(0, 0))
        extra = workload.sets.get(f"{name} to measure", SetSize(0, 0))
        yield name, SetSize(size.records + extra.records, size.tokens + extra.tokens)


def _set_tokens(measurement: Measurement, name: str, size: SetSize) -> float:
    sets = getattr(measurement, "only", None) or measurement.produces.sets or measurement.reads
    if isinstance(measurement, Exposure):
        sets = ("forget", "unseen") if measurement.control else ("forget",)
    if isinstance(measurement, Relearned):
        sets = ("forget", "unseen")
    if (sets and name not in sets) or not _runs_the_model(measurement):
        return 0.0
    limit = getattr(measurement, "records", None)
    records = size.records if limit is None else min(limit, size.records)
    measured = records if name in ("forget", "probes", "protected") or limit is not None else records / 2
    if isinstance(measurement, Relearned) and name == "forget":
        return (measured * measurement.points() + BACKWARD * measurement.tuned_records(size.records)) * size.mean
    return measured * size.mean * measurement.passes


def _runs_the_model(measurement: Measurement) -> bool:
    """Whether a measurement puts records through the model. One pass serves all measurements of likelihoods."""
    return isinstance(measurement, Likelihood | Budgeted)
