"""Extraction strength: by hand, and against the definition tried k by k."""

import numpy as np
import pytest

from core.evaluation.attacks.extraction import extraction_strengths
from core.lm.token_statistics import TokenStatistics
from tests.unit.evaluation.statistics_samples import random_statistics, statistics


def naive(record: TokenStatistics) -> float:
    count = len(record.correct)
    for leading in range(count + 1):
        if all(record.correct[leading:]):
            return 1 - leading / count
    raise AssertionError


@pytest.mark.parametrize(
    ("correct", "strength"),
    [
        ([True, True, True, True], 1.0),
        ([False, True, True, True], 0.75),
        ([True, True, False, True], 0.25),
        ([True, True, True, False], 0.0),
        ([False, False], 0.0),
        ([True], 1.0),
        ([False], 0.0),
    ],
)
def test_extraction_strength_of_cases_worked_by_hand(correct: list[bool], strength: float) -> None:
    assert extraction_strengths([statistics([0.5] * len(correct), correct)]).tolist() == [strength]


def test_extraction_strength_agrees_with_trying_every_number_of_leading_tokens() -> None:
    records = random_statistics(np.random.default_rng(2), 200)
    assert extraction_strengths(records).tolist() == pytest.approx([naive(record) for record in records])
