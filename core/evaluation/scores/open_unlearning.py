"""Figures as open-unlearning defines them (github.com/locuslab/open-unlearning, src/evals/metrics), where ours differ.

Its token-wise figures leave out the last scored token, which is the end of sequence of an answer.
"""

from collections.abc import Sequence

import numpy as np

from core.evaluation.eval_context import Columns
from core.evaluation.stats.bootstrap import Values
from core.lm.token_statistics import TokenStatistics

SHARE = 40
"""Percent of the tokens that its min-k and min-k++ average."""

_LEAST_VARIANCE = 1e-6


def columns(statistics: Sequence[TokenStatistics]) -> Columns:
    """Columns of records, (records,) each.

    `exact_memorization`; `exact_counts`: 0 where no token is left and the record does not count, else 1;
    `extraction_strength`; `min_k` and `min_k++`, both higher for members.
    """
    records = [_without_last(record) for record in statistics]
    return {
        "exact_memorization": np.array([tokens.correct.mean() if len(tokens.correct) else 0.0 for tokens in records]),
        "exact_counts": np.array([float(len(tokens.correct) > 0) for tokens in records]),
        "extraction_strength": np.array([_extraction_strength(tokens) for tokens in records]),
        "min_k": np.array([_lowest(tokens.log_probability) for tokens in records]),
        "min_k++": np.array([_lowest(_standardised(tokens)) for tokens in records]),
    }


def _without_last(tokens: TokenStatistics) -> TokenStatistics:
    return TokenStatistics(tokens.log_probability[:-1], tokens.correct[:-1], tokens.mean[:-1], tokens.deviation[:-1])


def _extraction_strength(tokens: TokenStatistics) -> float:
    """1 - k/n with k at most n - 1: never under 1/n, even if no token is predicted right; 0 without any token."""
    count = len(tokens.correct)
    if not count:
        return 0.0
    wrong = np.flatnonzero(~tokens.correct)
    fewest = int(wrong[-1]) + 1 if len(wrong) else 0
    return 1 - min(fewest, count - 1) / count


def _standardised(tokens: TokenStatistics) -> Values:
    return (tokens.log_probability - tokens.mean) / np.sqrt(np.maximum(tokens.deviation**2, _LEAST_VARIANCE))


def _lowest(values: Values) -> float:
    """The mean of the lowest max(1, floor(40 % of n)); 0 without any token."""
    return float(np.sort(values)[: max(1, len(values) * SHARE // 100)].mean()) if len(values) else 0.0
