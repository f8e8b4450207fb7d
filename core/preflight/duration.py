"""How long a job takes, by what earlier ones took."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from core.preflight.work import Work


@dataclass(frozen=True)
class Run:
    """What a finished job took: on as many GPUs, with a model of so many weights. `expected_tokens`: its estimate's."""

    model: str
    parameters: int
    tokens: int
    unlearning_seconds: float
    other_seconds: float
    expected_tokens: int | None = None


def seconds(work: Work, model: str, runs: Sequence[Run]) -> float | None:
    """From the runs of the same model where there are any, else from all, scaled by weights; None: there is none.

    Training takes time in proportion to tokens times weights, the rest (loading, measuring, saving) to weights.
    """
    runs = [run for run in runs if run.tokens > 0 and run.unlearning_seconds > 0 and run.parameters > 0]
    runs = [run for run in runs if run.model == model] or runs
    if not runs:
        return None
    size = work.shape.parameters
    for_each = median(run.unlearning_seconds / run.tokens / run.parameters for run in runs)
    around = median(run.other_seconds * size / run.parameters for run in runs)
    # tokens are reckoned from bytes before a job, counted in it: by how much the first were wrong, these will be
    amiss = median([run.tokens / run.expected_tokens for run in runs if run.expected_tokens] or [1.0])
    return round(work.tokens * amiss * size * for_each + around, 1)
