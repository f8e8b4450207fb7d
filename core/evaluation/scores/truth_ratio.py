"""Whether a model holds the truth for more probable than what is as well said but wrong (Maini et al. 2024).

r = probability of the wrong answers / probability of the right one in other words, all length-normalised: exp(-CE).
Kept as log r, so that an answer which the model finds impossible gives a figure too.
"""

import numpy as np

from core.evaluation.eval_context import Columns
from core.evaluation.stats.bootstrap import Values
from core.schema.evaluation import SetName

FORGOTTEN: frozenset[SetName] = frozenset({"forget", "probes"})
"""Sets of which the best is that truth and untruth are alike; of all others that truth is more probable."""


def probability_among_wrong(columns: Columns) -> Values:
    """p_right / (p_right + sum of p_wrong): (n,)."""
    return np.exp(-np.logaddexp(0.0, columns["wrong_log_sum"] + columns["right"]))


def log_ratios(columns: Columns) -> Values:
    """log r, the wrong answers' mean being geometric: (n,)."""
    return columns["true"] - columns["wrong"]


def arithmetic_log_ratios(columns: Columns) -> Values:
    """log r, the wrong answers' mean being arithmetic, as the paper has it (its equation 1): (n,)."""
    return columns["wrong_log_sum"] - np.log(columns["wrong_count"]) + columns["true"]


def truth_ratios(logs: Values, name: SetName) -> Values:
    """min(r, 1/r) of what must be forgotten, max(0, 1 - r) of all else: (n,) in [0, 1]."""
    return np.exp(-np.abs(logs)) if name in FORGOTTEN else -np.expm1(np.minimum(logs, 0.0))


def kolmogorov_smirnov(one: Values, other: Values) -> tuple[float, float]:
    """The two-sample statistic and its p-value, of (n,) and (m,), each at least one."""
    from scipy.stats import ks_2samp

    found = ks_2samp(one, other)
    return float(found.statistic), float(found.pvalue)
