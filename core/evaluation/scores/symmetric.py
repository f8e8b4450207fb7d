"""The symmetric score of two values: 1 where they are equal, 0 where one is nothing beside the other.

R of relearning compares the changes of two models, Q of quantisation a copy with the model itself
(https://arxiv.org/abs/2605.24614).
"""

import numpy as np

from core.evaluation.stats.bootstrap import Resamples, Values, interval, rows_at_once
from core.evaluation.stats.student_t import student_factor
from core.schema.evaluation import Figure


def symmetric_scores(first: Values, second: Values) -> Values:
    """1 - |a - b| / (|a| + |b|), elementwise: from 0 to 1. Two zeros are equal: 1. Other signs: 0."""
    sizes = np.abs(first) + np.abs(second)
    shares = np.divide(np.abs(first - second), sizes, out=np.zeros_like(sizes), where=sizes > 0)
    return np.asarray(np.clip(1 - shares, 0.0, 1.0))


def symmetric_score(first: Values, second: Values, resamples: Resamples) -> Figure:
    """The symmetric score of the means of two values of each record, (n,) each, with its interval.

    Both means come from the same resamples, since a record moves both. Their percentiles are widened to Student's, for
    few records. The score of two equal means is at the edge of its resamples: the interval always holds the score. A
    single record has no interval. Raises ValueError where there are no records.
    """
    records = len(first)
    if not records:
        raise ValueError("a score over no records")
    value = float(symmetric_scores(np.mean(first, keepdims=True), np.mean(second, keepdims=True))[0])
    if records == 1:
        return Figure(value=value, low=None, high=None, records=records)
    blocks = resamples.blocks(records, rows=rows_at_once(records))  # (B, n) each
    resampled = [symmetric_scores(counts @ first / records, counts @ second / records) for counts in blocks]
    low, high = interval(np.concatenate(resampled))
    wider = student_factor(records)
    low, high = value - wider * max(0.0, value - low), value + wider * max(0.0, high - value)
    return Figure(value=value, low=max(0.0, low), high=min(1.0, high), records=records)
