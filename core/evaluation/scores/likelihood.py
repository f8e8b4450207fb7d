"""How probable a set's text is to the model: perplexity, accuracy, probability."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.stats.bootstrap import Values
from core.lm.token_statistics import TokenStatistics

MOST_NATS = 700.0
"""exp of more than this is no finite number. No model that says anything comes near: it is 1e304."""


def cross_entropies(statistics: Sequence[TokenStatistics]) -> Values:
    """CE(x), the mean of -log p over a record's scored tokens: (records,), in nats."""
    return np.array([-one.log_probability.mean() for one in statistics])


def tokens(statistics: Sequence[TokenStatistics]) -> Values:
    """Scored tokens of each record: (records,)."""
    return np.array([float(len(one.log_probability)) for one in statistics])


def accuracies(statistics: Sequence[TokenStatistics]) -> Values:
    """Share of the scored tokens that the model, given what truly precedes, ranks first: (records,)."""
    return np.array([one.correct.mean() for one in statistics])


def probabilities(statistics: Sequence[TokenStatistics]) -> Values:
    """exp(-CE(x)), the geometric mean of the tokens' probabilities: (records,)."""
    return np.exp(-cross_entropies(statistics))


def perplexity(nats: Values) -> Values:
    """exp, kept finite: a wrecked model's perplexity is a figure too."""
    return np.exp(np.minimum(nats, MOST_NATS))
