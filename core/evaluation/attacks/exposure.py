"""Exposure: the rank of a record's loss among its twins' (Carlini et al. 2019, arXiv 1802.08232)."""

import math
from collections.abc import Sequence

import numpy as np

from core.evaluation.attacks.sequential_rank import never_seen_ranks
from core.evaluation.stats.bootstrap import Values

_EXACT = 20_000
"""Up to this many possible sums of ranks the distribution is exact; beyond, it is approximated."""


def exposures(ranks: Values, twins: int) -> Values:
    """log2(twins + 1) - log2(rank), in bits: the information about a record in the order of the losses."""
    return math.log2(twins + 1) - np.log2(ranks)


def mean_rank_p_value(ranks: Sequence[float] | Values, twins: int, *, exhaustive: bool = False) -> float:
    """The probability that a model which never saw the records has a mean rank as low as this.

    For such a model every exact rank is uniform on 1 to twins + 1 (`exhaustive`). The probabilities of estimated ranks,
    which are rounded, are those of `sequential_rank.never_seen_ranks`. The distribution of the sum comes from
    convolution, or is normal where the sum has more than 20,000 possible values. For one record with an exact rank it
    is rank / (twins + 1). Raises ValueError without any rank.
    """
    count, values = len(ranks), twins + 1
    if not count:
        raise ValueError("the mean of no ranks")
    places = np.arange(1, values + 1)
    probabilities = np.full(values, 1 / values)
    if not exhaustive:
        probabilities = np.zeros(values)
        for place, probability in never_seen_ranks(twins).items():
            probabilities[place - 1] = probability
    total = int(np.floor(np.asarray(ranks) + 0.5).sum())
    if count * values > _EXACT:
        mean = float(places @ probabilities)
        deviation = math.sqrt(count * float((places - mean) ** 2 @ probabilities))
        return math.erfc((count * mean - total - 0.5) / deviation / math.sqrt(2)) / 2
    sums = probabilities  # of k ranks: index s - k has the probability of the sum s
    for _ in range(count - 1):
        sums = np.convolve(sums, probabilities)
    return min(1.0, float(sums[: total - count + 1].sum()))
