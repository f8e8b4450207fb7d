"""How long a job takes, by what earlier ones took: what it starts with, and model FLOPs by how many there are a second.

Measuring and training each take some time however few FLOPs there are; earlier jobs of other sizes show how much. A
narrow model reaches fewer of a machine's FLOPs, since norms and activations take their time as well, and a matrix has
as many more FLOPs than they have as it is wide: one of width H is reckoned to reach H / (H + NARROW) of them.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from core.evaluation.measurement import Budgeted
from core.preflight import flops
from core.preflight.workload import Workload
from core.schema.jobs import MEASURING_PHASES
from core.schema.models import ModelShape

NARROW = 128
"""The width at which a model reaches half of the machine's FLOPs: docs/benchmarks.md, "Duration"."""
STARTING = 5.0
"""Seconds that measuring and training are taken to begin with, half of what they took at most, where the earlier jobs
are too alike to show it."""
_APART = 2.0
"""How many times more FLOPs a job must have than another for the two to show it."""
_LOADED = 500e6
"""Bytes of a model that are read in a second, beside what any job takes to start."""
_MEASURING = (("measuring_before",), ("measuring_after", "attacking"))

_COUNTED = {"unlearning", *MEASURING_PHASES}


@dataclass(frozen=True)
class FinishedJob:
    """What a finished job took, by phase: seconds, model FLOPs and the tokens that they are of.

    `expected_tokens`, `expected_measured`: its estimate's, of updates and of measuring."""

    model: str
    shape: ModelShape
    tokens: int
    seconds: dict[str, float]
    flops: dict[str, float] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    expected_tokens: int | None = None
    expected_measured: int | None = None

    def points(self, phases: Sequence[Sequence[str]]) -> list[tuple[float, float]]:
        """(the machine's FLOPs, seconds) of each of these groups of phases in which anything passed."""
        found = []
        for group in phases:
            spent, taken = (sum(of.get(name, 0.0) for name in group) for of in (self.flops, self.seconds))
            if spent > 0 and taken > 0:
                found.append((_whole(spent, self.shape), taken))
        return found

    @property
    def around(self) -> float:
        """Seconds of loading and saving, but for how long a model is read."""
        idle = sum(taken for name, taken in self.seconds.items() if name not in _COUNTED)
        return max(0.0, idle - _reading(self.shape))

    @property
    def measured(self) -> int:
        return sum(self.passed.get(name, 0) for name in MEASURING_PHASES)


@dataclass(frozen=True)
class Pace:
    """Seconds to begin with, and seconds for each FLOP of the machine."""

    beginning: float
    each: float

    @classmethod
    def of(cls, points: Sequence[tuple[float, float]]) -> "Pace | None":
        """The line through what earlier jobs took, by the median of all pairs that lie apart (Sen 1968, J. Am. Stat.
        Assoc. 63:1379); None: there is nothing to go by."""
        if not points:
            return None
        pairs = [sorted(pair) for pair in itertools.combinations(points, 2)]
        slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs if x2 >= _APART * x1]
        each = median(slopes) if slopes else 0.0
        if each <= 0:
            return cls(
                median(min(STARTING, taken / 2) for _, taken in points),
                median((taken - min(STARTING, taken / 2)) / spent for spent, taken in points),
            )
        return cls(max(0.0, median(taken - each * spent for spent, taken in points)), each)


def estimate_seconds(
    work: Workload, model: str, runs: Sequence[FinishedJob], *, untried: float | None = None
) -> float | None:
    """From the runs of the same model where there are any, else from all; None: there is nothing to go by.

    `untried` is what a model may reach of FLOPs a second, roughly: it counts where there is no run.
    """
    runs = [run for run in runs if run.model == model] or list(runs)
    measuring = Pace.of([point for run in runs for point in run.points(_MEASURING)])
    training = Pace.of([point for run in runs for point in run.points([["unlearning"]])])
    if measuring is None and training is None:
        if untried is None:
            return None
        measuring = Pace(STARTING, 1.0 / untried)
    found = median([run.around for run in runs] or [STARTING]) + _reading(work.shape)
    if work.method is not None:
        pace = training or measuring
        amiss = _amiss([(run.tokens, run.expected_tokens) for run in runs])
        found += _taken(pace, amiss * flops.training_flops(work), work.shape)
    pace, moments = measuring or training, 1 if work.method is None else 2
    amiss = _amiss([(run.measured, run.expected_measured) for run in runs])
    if work.measurements:
        found += moments * (0.0 if pace is None else pace.beginning)
    for measurement, tokens in flops.measuring_tokens(work):
        taken = _taken(pace, amiss * tokens * flops.flops_per_token(work.shape), work.shape, begins=False)
        found += moments * (min(taken, measurement.seconds) if isinstance(measurement, Budgeted) else taken)
    return round(found, 1)


def _taken(pace: Pace | None, spent: float, shape: ModelShape, *, begins: bool = True) -> float:
    if pace is None:
        return 0.0
    return (pace.beginning if begins else 0.0) + pace.each * _whole(spent, shape)


def _whole(spent: float, shape: ModelShape) -> float:
    """What the machine could have done in that time, of a model so narrow."""
    return spent * (1 + NARROW / shape.hidden_size)


def _reading(shape: ModelShape) -> float:
    return shape.bytes / _LOADED


def _amiss(pairs: Sequence[tuple[int, int | None]]) -> float:
    """Tokens are reckoned from bytes before a job, counted in it: by how much the first were wrong, these will be."""
    return median([counted / expected for counted, expected in pairs if expected and counted] or [1.0])
