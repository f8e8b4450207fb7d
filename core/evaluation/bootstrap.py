"""How sure a figure is: 95 % percentile intervals from resampling records with replacement (Efron 1979)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.schema.evaluation import Figure

Values = NDArray[np.float64]
Counts = NDArray[np.float64]
"""(B, n): how often each of n records is in each of B resamples; every row sums to n."""

RESAMPLES = 1000
_TAILS = (0.025, 0.975)
_AT_ONCE = 1 << 22  # numbers of one block of resamples: 32 MB


@dataclass(frozen=True)
class Resamples:
    """The same `count` resamples of n records, however often they are gone through; a function of seed and `name`."""

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
) -> dict[str, Figure]:
    """For each name, through(sum(values * weights) / sum(weights)) over n records, with its interval.

    `columns[name]` is (values (n,), weights (n,)). A single record says nothing about others: no interval.
    Raises ValueError where there are no records.
    """
    numerators = np.stack([values * weights for values, weights in columns.values()], axis=1)  # (n, k)
    denominators = np.stack([weights for _, weights in columns.values()], axis=1)  # (n, k)
    records = len(numerators)
    if not records:
        raise ValueError("a mean over no records")
    whole = numerators.sum(0) / denominators.sum(0)  # (k,)
    resampled = np.concatenate(
        [(counts @ numerators) / (counts @ denominators) for counts in _blocks(resamples, records)]
    )  # (R, k)
    figures = {}
    for column, name in enumerate(columns):
        change = through.get(name, np.asarray)
        low, high = interval(change(resampled[:, column])) if records > 1 else (None, None)
        figures[name] = Figure(value=float(change(whole[column])), low=low, high=high, records=records)
    return figures


def _blocks(resamples: Resamples, records: int) -> Iterator[Counts]:
    return resamples.blocks(records, rows=rows_at_once(records))
