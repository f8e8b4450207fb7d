"""Likelihood of records under a model: cross entropy, accuracy, probability, perplexity."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.stats.bootstrap import Values
from core.lm.token_statistics import TokenStatistics

MOST_NATS = 700.0
"""Beyond this many nats exp is no finite number. It is 1e304: no working model comes near."""


def cross_entropies(statistics: Sequence[TokenStatistics]) -> Values:
    """CE(x), the mean of -log p over a record's scored tokens: (records,), in nats."""
    return np.array([-record.log_probability.mean() for record in statistics])


def token_counts(statistics: Sequence[TokenStatistics]) -> Values:
    """The number of scored tokens of each record: (records,)."""
    return np.array([float(len(record.log_probability)) for record in statistics])


def accuracies(statistics: Sequence[TokenStatistics]) -> Values:
    """The share of scored tokens that the model ranks first, given the true tokens before: (records,)."""
    return np.array([record.correct.mean() for record in statistics])


def probabilities(statistics: Sequence[TokenStatistics]) -> Values:
    """exp(-CE(x)), the geometric mean of the tokens' probabilities: (records,)."""
    return np.exp(-cross_entropies(statistics))


def perplexity(nats: Values) -> Values:
    """exp of nats per token, kept finite: a wrecked model's perplexity is a figure too."""
    return np.exp(np.minimum(nats, MOST_NATS))
