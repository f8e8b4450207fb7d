"""95 % intervals of figures, by resampling records with replacement (Efron 1979).

A mean's interval is on each side the wider of two: Student's, which accounts for few records, and the bias-corrected
and accelerated bootstrap, which accounts for skew (BCa: Efron 1987, J. Am. Stat. Assoc. 82:171). docs/benchmarks.md,
"Intervals", shows how often it holds the true mean, compared with other intervals. Other resampled figures (rates,
differences of two figures) have plain percentile intervals.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from core.evaluation.stats.student_t import quantile
from core.schema.evaluation import Figure

Values = NDArray[np.float64]
Counts = NDArray[np.float64]
"""(B, n): how often each of n records is in each of B resamples; every row sums to n."""

Range = tuple[float, float]
"""The smallest and the largest possible value, and so mean."""

SHARE: Range = (0.0, 1.0)
AMOUNT: Range = (0.0, math.inf)
CHANGE: Range = (-math.inf, math.inf)

RESAMPLES = 1000
_TAILS = (0.025, 0.975)
_AT_ONCE = 1 << 22  # numbers of one block of resamples: 32 MB
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Resamples:
    """`count` resamples of n records. They are a function of seed and `name`: every pass gives the same ones."""

    seed: int
    name: str
    count: int = RESAMPLES

    def blocks(self, records: int, *, rows: int) -> Iterator[Counts]:
        """All resamples, at most `rows` at a time."""
        generator = np.random.default_rng([self.seed, *self.name.encode()])
        for start in range(0, self.count, rows):
            size = min(rows, self.count - start)
            drawn = generator.integers(0, records, size=(size, records))
            drawn += np.arange(size)[:, None] * records
            yield np.bincount(drawn.ravel(), minlength=size * records).reshape(size, records).astype(np.float64)


def rows_at_once(records: int) -> int:
    return max(1, _AT_ONCE // max(1, records))


def interval(resampled: Values) -> tuple[float, float]:
    low, high = np.quantile(resampled, _TAILS)
    return float(low), float(high)


def weighted_means(
    columns: Mapping[str, tuple[Values, Values]],
    resamples: Resamples,
    *,
    through: Mapping[str, Callable[[Values], Values]],
    ranges: Mapping[str, Range] | None = None,
) -> dict[str, Figure]:
    """For each name, through(sum(values * weights) / sum(weights)) over n records, with its interval.

    `columns[name]` is (values (n,), weights (n,)). `through` is monotonic and is applied to the interval's ends: a
    perplexity's interval is taken on logarithms. `ranges[name]` holds the possible values, SHARE by default; intervals
    do not reach beyond them. A single record tells nothing of others: it gives no interval.
    Raises ValueError where there are no records, or values outside of their range.
    """
    numerators = np.stack([values * weights for values, weights in columns.values()], axis=1)  # (n, k)
    denominators = np.stack([weights for _, weights in columns.values()], axis=1)  # (n, k)
    records = len(numerators)
    if not records:
        raise ValueError("a mean over no records")
    means = numerators.sum(0) / denominators.sum(0)  # (k,)
    resampled = np.concatenate(
        [(counts @ numerators) / (counts @ denominators) for counts in _blocks(resamples, records)]
    )  # (R, k)
    figures = {}
    for column, (name, (values, weights)) in enumerate(columns.items()):
        change, (least, most) = through.get(name, np.asarray), (ranges or {}).get(name, SHARE)
        if values.min() < least - _ROUNDING or values.max() > most + _ROUNDING:
            raise ValueError(f"'{name}' has values outside of {least:g} to {most:g}")
        low = high = None
        if records > 1:
            ends = mean_interval(values, weights, resampled[:, column])
            low, high = (float(change(np.float64(end))) for end in np.clip(ends, least, most))
        figures[name] = Figure(value=float(change(means[column])), low=low, high=high, records=records)
    return figures


def mean_interval(values: Values, weights: Values, resampled: Values) -> tuple[float, float]:
    """The interval of sum(values * weights) / sum(weights) over n > 1 records, whose resampled means are (R,).

    On each side the wider of Student's interval, by the records' influence, and BCa's. scipy.stats.bootstrap has BCa
    too, but it leaves out each record in turn: six figures of 4,000 records take eight times as long.
    """
    mean = (values * weights).sum() / weights.sum()
    own = student(values, weights)
    levels = _accelerated(_influence(values, weights), resampled, mean)
    low, high = np.quantile(resampled, levels)
    return min(own[0], float(low)), max(own[1], float(high))


def student(values: Values, weights: Values) -> tuple[float, float]:
    """Student's interval of a weighted mean over n > 1 records, by the records' influence."""
    n, mean = len(values), (values * weights).sum() / weights.sum()
    spread = quantile(n) * _influence(values, weights).std(ddof=1) / math.sqrt(n)
    return float(mean - spread), float(mean + spread)


def _influence(values: Values, weights: Values) -> Values:
    """The influence of each record on the mean, times n: (n,), with mean 0."""
    mean = (values * weights).sum() / weights.sum()
    return np.asarray((values - mean) * weights / weights.mean())


def _accelerated(influence: Values, resampled: Values, mean: float) -> tuple[float, float]:
    """The levels of the resampled means at which BCa's interval ends."""
    normal, count = NormalDist(), len(resampled)
    below = float((resampled < mean).mean() + (resampled == mean).mean() / 2)
    bias = normal.inv_cdf(min(max(below, 1 / (2 * count)), 1 - 1 / (2 * count)))
    squares = float((influence**2).sum())
    acceleration = float((influence**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0

    def level(tail: float) -> float:
        quantile = bias + normal.inv_cdf(tail)
        return normal.cdf(bias + quantile / (1 - acceleration * quantile))

    return level(_TAILS[0]), level(_TAILS[1])


def _blocks(resamples: Resamples, records: int) -> Iterator[Counts]:
    return resamples.blocks(records, rows=rows_at_once(records))
