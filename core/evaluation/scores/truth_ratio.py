"""Truth ratio: whether a model finds the truth more probable than wrong answers of the same form (Maini et al. 2024).

r = probability of the wrong answers / probability of the paraphrased right answer, all length-normalised: exp(-CE).
It is kept as log r, so that an answer which the model finds impossible gives a figure too.
"""

import numpy as np

from core.evaluation.eval_context import Columns
from core.evaluation.stats.bootstrap import Values
from core.schema.evaluation import SetName
from core.schema.policies import FORGET_SETS


def probability_among_wrong(columns: Columns) -> Values:
    """p_right / (p_right + sum of p_wrong): (n,)."""
    return np.exp(-np.logaddexp(0.0, columns["wrong_log_sum"] + columns["right"]))


def log_ratios(columns: Columns) -> Values:
    """log r with the geometric mean of the wrong answers: (n,)."""
    return columns["true"] - columns["wrong"]


def arithmetic_log_ratios(columns: Columns) -> Values:
    """log r with the arithmetic mean of the wrong answers, as in the paper (equation 1): (n,)."""
    return columns["wrong_log_sum"] - np.log(columns["wrong_count"]) + columns["true"]


def truth_ratios(logs: Values, name: SetName) -> Values:
    """min(r, 1/r) for forget and probes, max(0, 1 - r) for all other sets: (n,) in [0, 1].

    It is best if truth and untruth are alike for what must be forgotten, and if the truth is more probable elsewhere.
    """
    return np.exp(-np.abs(logs)) if name in FORGET_SETS else -np.expm1(np.minimum(logs, 0.0))


def kolmogorov_smirnov(first: Values, second: Values) -> tuple[float, float]:
    """The two-sample Kolmogorov-Smirnov statistic and its p-value, of (n,) and (m,) values, at least one each."""
    from scipy.stats import ks_2samp

    result = ks_2samp(first, second)
    return float(result.statistic), float(result.pvalue)
