"""Scores of relearning: the attack that brings most back, and how alike two models relearn.

The losses of an attack are those of the measured records, (n,), by the number of steps made, as text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from core.evaluation.scores.likelihood import perplexity
from core.evaluation.scores.symmetric import symmetric_score
from core.evaluation.stats.bootstrap import AMOUNT, CHANGE, Range, Resamples, Values, weighted_means
from core.schema.evaluation import Figure

Losses = Mapping[str, Values]


@dataclass(frozen=True)
class WorstPoint:
    """The point of all attacks' curves where most is back."""

    curve: str
    step: int
    figure: Figure


def mean_perplexity(losses: Values, resamples: Resamples, *, possible: Range = AMOUNT) -> Figure:
    """exp(mean of the losses), or of differences of losses, whose range is CHANGE; with its interval."""
    column = {"perplexity": (losses, np.ones(len(losses)))}
    means = weighted_means(column, resamples, through={"perplexity": perplexity}, ranges={"perplexity": possible})
    return means["perplexity"]


def lowest_perplexity(losses: Mapping[str, Losses], resamples: Callable[[str], Resamples]) -> WorstPoint | None:
    """The lowest perplexity of all attacks after any step; None where no attack made one."""
    return _lowest(losses, resamples, AMOUNT)


def lowest_ratio(
    own: Mapping[str, Losses], other: Mapping[str, Losses], resamples: Callable[[str], Resamples]
) -> WorstPoint | None:
    """The lowest ratio of a model's perplexity to another model's under the same attack after as many steps.

    The mean ratio is over the same records, so that its interval is of differences. None where there is no common step.
    """
    differences = {
        curve: {step: losses[step] - other[curve][step] for step in losses if step in other.get(curve, {})}
        for curve, losses in own.items()
    }
    return _lowest(differences, resamples, CHANGE)


def relearning_score(own: Losses, other: Losses, resamples: Resamples) -> tuple[Figure, int] | None:
    """The symmetric score of what both models gain until the last common step, and that step; None without one."""
    last = max((int(step) for step in own if step in other), default=0)
    if not last:
        return None
    gains, other_gains = (losses["0"] - losses[str(last)] for losses in (own, other))
    return symmetric_score(gains, other_gains, resamples), last


def _lowest(values: Mapping[str, Losses], resamples: Callable[[str], Resamples], possible: Range) -> WorstPoint | None:
    means = {
        (curve, int(step)): float(column.mean())
        for curve, columns in values.items()
        for step, column in columns.items()
        if int(step)
    }
    if not means:
        return None
    curve, step = min(means, key=lambda point: means[point])
    figure = mean_perplexity(values[curve][str(step)], resamples(curve), possible=possible)
    return WorstPoint(curve, step, figure)
