"""Model FLOPs of a job, by closed form from the model's shape: as `core.lm.flops` counts them while it runs."""

from collections.abc import Iterator
from typing import get_args

from core.evaluation.measurement import Budgeted, Measurement
from core.evaluation.measurements.exposure import Exposure
from core.evaluation.measurements.likelihood import Likelihood
from core.preflight.workload import SetSize, Workload
from core.schema.evaluation import SetName
from core.schema.models import ModelShape

BACKWARD = 3
"""Model FLOPs of an update's token, forward and backward, over those of forward alone (core.lm.flops)."""


def flops_per_token(shape: ModelShape) -> float:
    """Model FLOPs of one token forward: two of every weight that multiplies, the head's among them."""
    embedded = 0 if shape.tied else shape.vocabulary * shape.hidden_size
    return 2.0 * max(shape.parameters - embedded, shape.hidden_size)


def training_flops(work: Workload) -> float:
    """Of all updates, and of what the original says once of the sets that are held."""
    return flops_per_token(work.shape) * (BACKWARD * work.tokens + work.reference_tokens)


def measuring_tokens(work: Workload) -> Iterator[tuple[Measurement, float]]:
    """Of each measurement once, with its tokens, about: each record of its sets once, or as often as it has twins."""
    for measurement in work.measurements:
        yield measurement, sum(_tokens(measurement, name, text) for name, text in _sets(work) if text.records)


def total_measured_tokens(work: Workload) -> int:
    """Put through the model by all measurements, about: once where the job only measures, else before and after."""
    moments = 1 if work.method is None else 2
    return moments * round(sum(tokens for _, tokens in measuring_tokens(work)))


def _sets(work: Workload) -> Iterator[tuple[str, SetSize]]:
    for name in get_args(SetName):
        text, apart = work.sets.get(name, SetSize(0, 0)), work.sets.get(f"{name} to measure", SetSize(0, 0))
        yield name, SetSize(text.records + apart.records, text.tokens + apart.tokens)


def _tokens(measurement: Measurement, name: str, text: SetSize) -> float:
    only = getattr(measurement, "only", None) or measurement.produces.sets or measurement.reads
    if isinstance(measurement, Exposure):
        only = ("forget", "unseen") if measurement.control else ("forget",)
    if (only and name not in only) or not _passes(measurement):
        return 0.0
    limit = getattr(measurement, "records", None)
    records = text.records if limit is None else min(limit, text.records)
    halved = records if name in ("forget", "probes", "protected") or limit is not None else records / 2
    return halved * text.mean * (1 + getattr(measurement, "twins", 0))


def _passes(measurement: Measurement) -> bool:
    """Whether it puts records through the model: what one pass yields serves all that read likelihoods."""
    return isinstance(measurement, Likelihood | Budgeted)
