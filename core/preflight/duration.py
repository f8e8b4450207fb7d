"""How long a job takes, by what earlier ones took: what it starts with, and model FLOPs by how many there are a second.

Small models reach few of a machine's FLOPs, since norms, activations and calls take their time as well: a matrix has
as many more FLOPs than they have as it is wide. So a model of width H is reckoned to reach H / (H + NARROW) of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from core.evaluation.measurement import Budgeted
from core.preflight import flops
from core.preflight.work import Work
from core.schema.models import ModelShape

NARROW = 512
"""The width at which a model reaches half of the machine's FLOPs (docs/benchmarks.md, "Duration")."""
_LOADED = 500e6
"""Bytes of a model that are read in a second, beside what any job takes to start."""
_MEASURING = ("measuring_before", "measuring_after", "attacking")


@dataclass(frozen=True)
class Run:
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

    def speed(self, phases: Sequence[str]) -> float | None:
        """The machine's FLOPs a second in those phases; None: nothing passed."""
        spent, taken = (sum(of.get(name, 0.0) for name in phases) for of in (self.flops, self.seconds))
        return _whole(spent, self.shape) / taken if spent > 0 and taken > 0 else None

    @property
    def around(self) -> float:
        """Seconds of loading and saving, but for how long a model is read."""
        idle = sum(taken for name, taken in self.seconds.items() if name not in (*_MEASURING, "unlearning"))
        return max(0.0, idle - _reading(self.shape))

    @property
    def measured(self) -> int:
        return sum(self.passed.get(name, 0) for name in _MEASURING)


def seconds(work: Work, model: str, runs: Sequence[Run]) -> float | None:
    """From the runs of the same model where there are any, else from all; None: there is none to go by."""
    runs = [run for run in runs if run.model == model] or list(runs)
    measuring = _median(runs, lambda run: run.speed(_MEASURING))
    training = _median(runs, lambda run: run.speed(["unlearning"]))
    if measuring is None and training is None:
        return None
    found = (_median(runs, lambda run: run.around) or 0.0) + _reading(work.shape)
    found += (
        _whole(flops.training(work), work.shape)
        / (training or measuring or 1.0)
        * _amiss([(run.tokens, run.expected_tokens) for run in runs])
    )
    amiss = _amiss([(run.measured, run.expected_measured) for run in runs])
    moments = 1 if work.method is None else 2
    for measurement, tokens in flops.measuring(work):
        spent = _whole(tokens * flops.each_token(work.shape), work.shape)
        taken = amiss * spent / (measuring or training or 1.0)
        found += moments * (min(taken, measurement.seconds) if isinstance(measurement, Budgeted) else taken)
    return round(found, 1)


def _whole(spent: float, shape: ModelShape) -> float:
    """What the machine could have done in that time, of a model so narrow."""
    return spent * (1 + NARROW / shape.hidden_size)


def _reading(shape: ModelShape) -> float:
    return shape.bytes / _LOADED


def _median(runs: Sequence[Run], of: Callable[[Run], float | None]) -> float | None:
    found = [value for value in map(of, runs) if value is not None]
    return median(found) if found else None


def _amiss(pairs: Sequence[tuple[int, int | None]]) -> float:
    """Tokens are reckoned from bytes before a job, counted in it: by how much the first were wrong, these will be."""
    return median([counted / expected for counted, expected in pairs if expected and counted] or [1.0])
