"""The time of a job: seconds to begin with, and seconds for each model FLOP.

Both follow from earlier jobs of the model, or before its first job from the throughput that workers measured.

Measuring and training each take some time at any number of FLOPs; earlier jobs of different sizes show how much. A
narrow model reaches fewer of a machine's FLOPs, because norms and activations take time too, and a matrix has more
FLOPs than they have in proportion to its width. A model of width H is assumed to reach H / (H + HALF_SPEED_WIDTH) of
the machine's FLOPs.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from core.evaluation.measurement import Budgeted
from core.preflight import flops, measuring_cost
from core.preflight.workload import Workload
from core.schema.jobs import MEASURING_PHASES
from core.schema.models import ModelShape
from core.schema.throughput import Throughput

HALF_SPEED_WIDTH = 128
"""The width at which a model reaches half of the machine's FLOPs: docs/benchmarks.md, "Duration"."""
START_SECONDS = 5.0
"""Seconds that measuring and training take to begin with, where earlier jobs are too similar to show it. They are at
most half of the time that those jobs took."""
_MIN_RATIO = 2.0
"""How many times more FLOPs a job needs than another one before the two show a slope."""
_LOADED_BYTES_PER_SECOND = 500e6
"""Bytes of a model that are read in a second, beside the time that every job takes to start."""
_MEASURING = (("measuring_before",), ("measuring_after", "attacking"))
_COUNTED = {"unlearning", *MEASURING_PHASES}


@dataclass(frozen=True)
class FinishedJob:
    """The cost of a finished job: seconds, model FLOPs and their tokens, by phase.

    `expected_tokens` and `expected_measured` are the tokens of its estimate, of updates and of measuring.
    """

    model: str
    shape: ModelShape
    tokens: int
    seconds: dict[str, float]
    flops: dict[str, float] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    expected_tokens: int | None = None
    expected_measured: int | None = None

    def points(self, groups: Sequence[Sequence[str]]) -> list[tuple[float, float]]:
        """Returns (machine FLOPs, seconds) of each group of phases in which a token passed."""
        points = []
        for group in groups:
            spent, seconds = (sum(phases.get(name, 0.0) for name in group) for phases in (self.flops, self.seconds))
            if spent > 0 and seconds > 0:
                points.append((_machine_flops(spent, self.shape.hidden_size), seconds))
        return points

    @property
    def overhead_seconds(self) -> float:
        """Seconds of loading and saving, without reading the model."""
        other = sum(seconds for name, seconds in self.seconds.items() if name not in _COUNTED)
        return max(0.0, other - _load_seconds(self.shape))

    @property
    def measured_tokens(self) -> int:
        """Tokens of all phases that measure."""
        return sum(self.passed.get(name, 0) for name in MEASURING_PHASES)


@dataclass(frozen=True)
class Pace:
    """Seconds to begin with, and seconds for each FLOP of the machine."""

    start_seconds: float
    seconds_per_flop: float

    @classmethod
    def fit(cls, points: Sequence[tuple[float, float]]) -> "Pace | None":
        """Fits a line through the points of earlier jobs; None: there are no points.

        The slope is the median of all pairs that lie apart (Sen 1968, J. Am. Stat. Assoc. 63:1379).
        """
        if not points:
            return None
        pairs = [sorted(pair) for pair in itertools.combinations(points, 2)]
        slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs if x2 >= _MIN_RATIO * x1]
        slope = median(slopes) if slopes else 0.0
        if slope <= 0:
            return cls(
                median(min(START_SECONDS, seconds / 2) for _, seconds in points),
                median((seconds - min(START_SECONDS, seconds / 2)) / spent for spent, seconds in points),
            )
        return cls(max(0.0, median(seconds - slope * spent for spent, seconds in points)), slope)


@dataclass(frozen=True)
class Speed:
    """Machine FLOPs a second, in measuring and in training."""

    measuring: float
    training: float

    @classmethod
    def from_workers(cls, throughputs: Sequence[Throughput], *, gpus: int) -> "Speed | None":
        """Returns the speed of a job on so many GPUs (0: on the CPU), by the median of the workers' throughputs of one
        device; None where there are none."""
        if not throughputs:
            return None
        devices = max(1, gpus)
        return cls(
            devices * median(_machine_flops(throughput.forward, throughput.width) for throughput in throughputs),
            devices * median(_machine_flops(throughput.update, throughput.width) for throughput in throughputs),
        )


def estimate_seconds(
    workload: Workload,
    model: str,
    finished_jobs: Sequence[FinishedJob],
    *,
    measured: Speed | None = None,
    default: Speed | None = None,
) -> float | None:
    """Estimates a job's seconds from finished jobs of the same model.

    Where none of them measured, or none trained, the speed that the workers `measured` takes their place. Without that
    speed, finished jobs of other models do. `default` is a rough guess for the case without any of these; None: then
    the result is None.
    """
    own_jobs = [job for job in finished_jobs if job.model == model]
    measuring, training = _paces(own_jobs)
    if measured is not None:
        measuring = measuring or Pace(START_SECONDS, 1.0 / measured.measuring)
        training = training or Pace(START_SECONDS, 1.0 / measured.training)
    elif not own_jobs:
        measuring, training = _paces(finished_jobs)
    if measuring is None and training is None:
        if default is None:
            return None
        measuring, training = (Pace(START_SECONDS, 1.0 / speed) for speed in (default.measuring, default.training))
    finished_jobs = own_jobs or finished_jobs
    total = median([job.overhead_seconds for job in finished_jobs] or [START_SECONDS]) + _load_seconds(workload.shape)
    if "unlearning" in workload.phases:
        ratio = _token_ratio([(job.tokens, job.expected_tokens) for job in finished_jobs])
        total += _seconds(training or measuring, ratio * flops.training_flops(workload), workload.shape)
    pace, measured_models = measuring or training, workload.measured_models
    ratio = _token_ratio([(job.measured_tokens, job.expected_measured) for job in finished_jobs])
    if workload.measurements:
        total += measured_models * (0.0 if pace is None else pace.start_seconds)
    for measurement, tokens in measuring_cost.measuring_tokens(workload):
        spent = ratio * tokens * flops.flops_per_token(workload.shape)
        seconds = _seconds(pace, spent, workload.shape, starts=False)
        total += measured_models * (min(seconds, measurement.seconds) if isinstance(measurement, Budgeted) else seconds)
    return round(total, 1)


def _paces(jobs: Sequence[FinishedJob]) -> tuple[Pace | None, Pace | None]:
    """Returns the paces of measuring and of training; None where no job shows one."""
    measuring = [point for job in jobs for point in job.points(_MEASURING)]
    training = [point for job in jobs for point in job.points([["unlearning"]])]
    return Pace.fit(measuring), Pace.fit(training)


def _seconds(pace: Pace | None, spent: float, shape: ModelShape, *, starts: bool = True) -> float:
    if pace is None:
        return 0.0
    return (pace.start_seconds if starts else 0.0) + pace.seconds_per_flop * _machine_flops(spent, shape.hidden_size)


def _machine_flops(spent: float, width: int) -> float:
    """Returns the FLOPs that the machine could have computed in the time that a model of this width needs."""
    return spent * (1 + HALF_SPEED_WIDTH / width)


def _load_seconds(shape: ModelShape) -> float:
    return shape.bytes / _LOADED_BYTES_PER_SECOND


def _token_ratio(pairs: Sequence[tuple[int, int | None]]) -> float:
    """Returns counted over expected tokens. Tokens are estimated from bytes before a job, and counted during it."""
    return median([counted / expected for counted, expected in pairs if expected and counted] or [1.0])
