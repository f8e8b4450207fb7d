"""Token statistics made by hand or by chance, so that figures can be checked without a model."""

import numpy as np

from core.lm.statistics import TokenStatistics


def statistics(probabilities: list[float], correct: list[bool] | None = None) -> TokenStatistics:
    """A record whose tokens had these probabilities."""
    count = len(probabilities)
    return TokenStatistics(
        log_probability=np.log(probabilities),
        correct=np.array([False] * count if correct is None else correct),
        mean=np.full(count, -1.0),
        deviation=np.full(count, 2.0),
    )


def by_chance(generator: np.random.Generator, records: int) -> list[TokenStatistics]:
    """Records of 1 to 40 tokens."""
    made = []
    for count in generator.integers(1, 41, size=records):
        made.append(
            TokenStatistics(
                log_probability=-generator.exponential(2.0, size=count),
                correct=generator.random(count) < 0.6,
                mean=-generator.exponential(1.0, size=count),
                deviation=generator.exponential(1.0, size=count),
            )
        )
    return made
