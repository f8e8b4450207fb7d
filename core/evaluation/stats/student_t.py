"""Student's t (1908, Biometrika 6:1): the interval of a mean over few records."""

import math
from statistics import NormalDist

LEVEL = 0.95


def quantile(records: int) -> float:
    """Standard errors on each side of the mean that contain the true mean of n > 1 normal values in 95 % of cases."""
    from scipy.special import stdtrit

    return float(stdtrit(records - 1, (1 + LEVEL) / 2))


def student_factor(records: int) -> float:
    """Student's width over a percentile interval's, of n > 1 records. The latter's deviation is too small by
    sqrt((n - 1) / n), and its ends are a normal distribution's."""
    return math.sqrt(records / (records - 1)) * quantile(records) / NormalDist().inv_cdf((1 + LEVEL) / 2)
