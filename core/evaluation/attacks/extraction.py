"""Extraction strength and exact memorization: how much of a text can be extracted from the model."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.scores.likelihood import accuracies
from core.evaluation.stats.bootstrap import Values
from core.lm.token_statistics import TokenStatistics

exact_memorization = accuracies
"""(records,). Exact memorization (Tirumala et al. 2022, arXiv 2205.10770) is the figure that we call `accuracy`."""


def extraction_strengths(statistics: Sequence[TokenStatistics]) -> Values:
    """1 - k/n: (records,), where after the first k of n tokens the model predicts every further token right.

    0 if the last token is predicted wrong, 1 if none is. Carlini et al. 2021 (arXiv 2012.07805), as in arXiv
    2407.06460, without that code's floor of 1/n.
    """
    return np.array([_strength(record) for record in statistics])


def _strength(record: TokenStatistics) -> float:
    wrong = np.flatnonzero(~record.correct)
    count = len(record.correct)
    fewest = int(wrong[-1]) + 1 if len(wrong) else 0
    return 1 - fewest / count
