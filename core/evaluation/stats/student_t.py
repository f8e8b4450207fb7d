"""Student's t (1908, Biometrika 6:1): how much less sure a mean is of few records."""

import math
from statistics import NormalDist

LEVEL = 0.95


def quantile(records: int) -> float:
    """How many standard errors to each side hold the mean of n > 1 normal values in 95 % of cases."""
    from scipy.special import stdtrit

    return float(stdtrit(records - 1, (1 + LEVEL) / 2))


def widening(records: int) -> float:
    """By how much a percentile interval of n > 1 records is narrower than Student's: its deviation is too small by
    sqrt((n - 1) / n), and it ends where a normal distribution does."""
    return math.sqrt(records / (records - 1)) * quantile(records) / NormalDist().inv_cdf((1 + LEVEL) / 2)
