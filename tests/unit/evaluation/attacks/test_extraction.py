"""Extraction strength: by hand, and against the definition tried k by k."""

import numpy as np
import pytest

from core.evaluation.attacks.extraction import extraction_strengths
from core.lm.token_statistics import TokenStatistics
from tests.unit.evaluation.made import by_chance, statistics


def naive(one: TokenStatistics) -> float:
    count = len(one.correct)
    for known in range(count + 1):
        if all(one.correct[known:]):
            return 1 - known / count
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


def test_extraction_strength_is_the_fewest_leading_tokens_tried_one_by_one() -> None:
    records = by_chance(np.random.default_rng(2), 200)
    assert extraction_strengths(records).tolist() == pytest.approx([naive(one) for one in records])
