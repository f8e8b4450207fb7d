"""Model FLOPs of a job, in closed form from the model's shape. `core.lm.flops` counts them while the job runs."""

from collections.abc import Iterator
from typing import get_args

from core.evaluation.measurement import Budgeted, Measurement
from core.evaluation.measurements.exposure import Exposure
from core.evaluation.measurements.likelihood import Likelihood
from core.preflight.workload import SetSize, Workload
from core.schema.evaluation import SetName
from core.schema.models import ModelShape

BACKWARD = 3
"""Model FLOPs of a token in an update, forward and backward, relative to forward alone (core.lm.flops)."""


def flops_per_token(shape: ModelShape) -> float:
    """Returns the model FLOPs of one token forward: two for every weight that multiplies, the head's included."""
    embedding = 0 if shape.tied else shape.vocabulary * shape.hidden_size
    return 2.0 * max(shape.parameters - embedding, shape.hidden_size)


def training_flops(workload: Workload) -> float:
    """Returns the model FLOPs of all updates, and of the reference model's pass over the sets that need it."""
    return flops_per_token(workload.shape) * (BACKWARD * workload.trained_tokens + workload.reference_tokens)


def measuring_tokens(workload: Workload) -> Iterator[tuple[Measurement, float]]:
    """Yields each measurement with about the tokens that it puts through the model when it is made once.

    These are the tokens of each record of its sets, times its twins and itself where the measurement makes twins.
    """
    for measurement in workload.measurements:
        sizes = ((name, size) for name, size in _set_sizes(workload) if size.records)
        yield measurement, sum(_set_tokens(measurement, name, size) for name, size in sizes)


def total_measured_tokens(workload: Workload) -> int:
    """Returns about the tokens of all measurements of all measured models."""
    return workload.measured_models * round(sum(tokens for _, tokens in measuring_tokens(workload)))


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
    if (sets and name not in sets) or not _runs_the_model(measurement):
        return 0.0
    limit = getattr(measurement, "records", None)
    records = size.records if limit is None else min(limit, size.records)
    measured = records if name in ("forget", "probes", "protected") or limit is not None else records / 2
    return measured * size.mean * (1 + getattr(measurement, "scored_twins", 0))


def _runs_the_model(measurement: Measurement) -> bool:
    """Whether a measurement puts records through the model. One pass serves all measurements of likelihoods."""
    return isinstance(measurement, Likelihood | Budgeted)
