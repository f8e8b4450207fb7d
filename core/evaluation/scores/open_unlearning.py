"""Figures as open-unlearning has them (github.com/locuslab/open-unlearning, src/evals/metrics), where ours differ.

Its token-wise figures leave out the last scored token, which is the end of sequence of an answer.
"""

from collections.abc import Sequence

import numpy as np

from core.evaluation.eval_context import Columns
from core.evaluation.stats.bootstrap import Values
from core.lm.token_statistics import TokenStatistics

SHARE = 40
"""Percent of the tokens that its min-k and min-k++ look at."""

_LEAST_VARIANCE = 1e-6


def columns(statistics: Sequence[TokenStatistics]) -> Columns:
    """Of each record, (records,): `exact_memorization`, `exact_counts` (0 where no token is left, and the record is not
    counted), `extraction_strength`, `min_k`, `min_k++` (both higher for members)."""
    kept = [_without_last(one) for one in statistics]
    return {
        "exact_memorization": np.array([one.correct.mean() if len(one.correct) else 0.0 for one in kept]),
        "exact_counts": np.array([float(len(one.correct) > 0) for one in kept]),
        "extraction_strength": np.array([_extraction_strength(one) for one in kept]),
        "min_k": np.array([_lowest(one.log_probability) for one in kept]),
        "min_k++": np.array([_lowest(_standardised(one)) for one in kept]),
    }


def _without_last(one: TokenStatistics) -> TokenStatistics:
    return TokenStatistics(one.log_probability[:-1], one.correct[:-1], one.mean[:-1], one.deviation[:-1])


def _extraction_strength(one: TokenStatistics) -> float:
    """1 - k/n, k being at most n - 1: never under 1/n, even where nothing is right; 0 without any token."""
    count = len(one.correct)
    if not count:
        return 0.0
    wrong = np.flatnonzero(~one.correct)
    fewest = int(wrong[-1]) + 1 if len(wrong) else 0
    return 1 - min(fewest, count - 1) / count


def _standardised(one: TokenStatistics) -> Values:
    return (one.log_probability - one.mean) / np.sqrt(np.maximum(one.deviation**2, _LEAST_VARIANCE))


def _lowest(values: Values) -> float:
    """The mean of the lowest max(1, floor(40 % of n)); 0 without any token."""
    return float(np.sort(values)[: max(1, len(values) * SHARE // 100)].mean()) if len(values) else 0.0
