"""Where a record's loss ranks among its twins': Carlini et al. 2019 (arXiv 1802.08232), with twins for canaries."""

import math
from collections.abc import Sequence

import numpy as np

from core.evaluation.stats.bootstrap import Values

_EXACT = 20_000
"""Up to so many values of a sum of ranks its distribution is computed, not approximated."""


def rank(loss: float, of_twins: Values) -> float:
    """1 where no twin's loss is as low, len(of_twins) + 1 where all are lower; ties count half."""
    return 1 + float((of_twins < loss).sum()) + float((of_twins == loss).sum()) / 2


def exposures(ranks: Values, twins: int) -> Values:
    """log2(twins + 1) - log2(rank), in bits: what one learns of a record from the order of the losses."""
    return math.log2(twins + 1) - np.log2(ranks)


def mean_rank_p_value(ranks: Sequence[float] | Values, twins: int) -> float:
    """How probable a mean rank as low as these records' is, for a model that never saw them.

    Then every rank is uniform on 1 to twins + 1. The sum's distribution, by convolution; a normal one for sums of
    more than 20,000 values. Half ranks, from ties, are rounded up. Of one record: rank / (twins + 1).
    Raises ValueError where there are no ranks.
    """
    count, values = len(ranks), twins + 1
    if not count:
        raise ValueError("the mean of no ranks")
    total = math.ceil(float(np.sum(ranks)))
    if count * values > _EXACT:
        deviation = math.sqrt(count * (values**2 - 1) / 12)
        return math.erfc((count * (values + 1) / 2 - total - 0.5) / deviation / math.sqrt(2)) / 2
    one = np.full(values, 1 / values)
    sums = one  # of k ranks: place s - k has the probability of the sum s
    for _ in range(count - 1):
        sums = np.convolve(sums, one)
    return min(1.0, float(sums[: total - count + 1].sum()))
