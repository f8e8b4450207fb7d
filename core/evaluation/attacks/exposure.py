"""Exposure: the rank of a record's loss among its twins' (Carlini et al. 2019, arXiv 1802.08232)."""

import math
from collections.abc import Sequence

import numpy as np

from core.evaluation.stats.bootstrap import Values

_EXACT = 20_000
"""Up to this many possible sums of ranks the distribution is exact; beyond, it is approximated."""


def rank(loss: float, twin_losses: Values) -> float:
    """1 where no twin's loss is as low, len(twin_losses) + 1 where all are lower; ties count half."""
    return 1 + float((twin_losses < loss).sum()) + float((twin_losses == loss).sum()) / 2


def exposures(ranks: Values, twins: int) -> Values:
    """log2(twins + 1) - log2(rank), in bits: the information about a record in the order of the losses."""
    return math.log2(twins + 1) - np.log2(ranks)


def mean_rank_p_value(ranks: Sequence[float] | Values, twins: int) -> float:
    """The probability that a model which never saw the records has a mean rank as low as this.

    For such a model every rank is uniform on 1 to twins + 1. The distribution of the sum comes from convolution, or is
    normal where the sum has more than 20,000 possible values. Half ranks, from ties, are rounded up. For one record it
    is rank / (twins + 1). Raises ValueError without any rank.
    """
    count, values = len(ranks), twins + 1
    if not count:
        raise ValueError("the mean of no ranks")
    total = math.ceil(float(np.sum(ranks)))
    if count * values > _EXACT:
        deviation = math.sqrt(count * (values**2 - 1) / 12)
        return math.erfc((count * (values + 1) / 2 - total - 0.5) / deviation / math.sqrt(2)) / 2
    uniform = np.full(values, 1 / values)
    sums = uniform  # of k ranks: index s - k has the probability of the sum s
    for _ in range(count - 1):
        sums = np.convolve(sums, uniform)
    return min(1.0, float(sums[: total - count + 1].sum()))
