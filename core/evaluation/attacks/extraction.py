"""How much of a text the model could be made to give back."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.scores.likelihood import accuracies
from core.evaluation.stats.bootstrap import Values
from core.lm.token_statistics import TokenStatistics

exact_memorization = accuracies
"""(records,). The field's name (Tirumala et al. 2022, arXiv 2205.10770) for what is computed as `accuracy`."""


def extraction_strengths(statistics: Sequence[TokenStatistics]) -> Values:
    """1 - k/n: (records,), k the fewest leading tokens after which every one of the n is predicted right.

    0 where the last token is wrong, 1 where none is. Carlini et al. 2021 (arXiv 2012.07805), as in arXiv 2407.06460,
    without that code's floor of 1/n.
    """
    return np.array([_strength(one) for one in statistics])


def _strength(one: TokenStatistics) -> float:
    wrong = np.flatnonzero(~one.correct)
    count = len(one.correct)
    fewest = int(wrong[-1]) + 1 if len(wrong) else 0
    return 1 - fewest / count
