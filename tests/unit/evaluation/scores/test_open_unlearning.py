"""open-unlearning's figures: worked by hand, and beside loops that look at one place after the other."""

import math

import numpy as np
import pytest

from core.evaluation.scores import open_unlearning
from core.lm.token_statistics import TokenStatistics
from tests.unit.evaluation.statistics_samples import random_statistics, statistics


def figure(name: str, record: TokenStatistics) -> float:
    return float(open_unlearning.columns([record])[name][0])


@pytest.mark.parametrize(
    ("correct", "strength", "exact"),
    [
        ([True, True, False, True, False], 1 - 3 / 4, 3 / 4),
        ([False, False, False, False, True], 1 / 4, 0.0),  # the floor: nothing is right but what is not looked at
        ([True, True, True, True, False], 1.0, 1.0),
        ([False, True, True, True, True], 3 / 4, 3 / 4),
    ],
)
def test_the_last_token_is_left_out_and_extraction_strength_has_a_floor(
    correct: list[bool], strength: float, exact: float
) -> None:
    record = statistics([0.5] * 5, correct)
    assert figure("extraction_strength", record) == pytest.approx(strength)
    assert figure("exact_memorization", record) == pytest.approx(exact)
    assert figure("exact_counts", record) == 1


def test_a_record_of_a_single_token_has_no_exact_memorization_and_no_strength() -> None:
    record = statistics([0.5], [True])
    assert [figure(name, record) for name in ("exact_counts", "extraction_strength", "min_k", "min_k++")] == [
        0,
        0,
        0,
        0,
    ]


def test_min_k_averages_the_lowest_two_fifths_without_the_last_token() -> None:
    record = statistics([0.5, 0.25, 0.125, 0.5, 0.5, 0.001])
    assert figure("min_k", record) == pytest.approx((math.log(0.125) + math.log(0.25)) / 2)
    assert figure("min_k++", record) == pytest.approx((math.log(0.125) + math.log(0.25) + 2) / 2 / 2)


def test_the_variance_of_min_k_plus_plus_has_a_floor() -> None:
    record = TokenStatistics(np.array([-1.5, -3.0]), np.array([True, True]), np.array([-1.0, -1.0]), np.zeros(2))
    assert figure("min_k++", record) == pytest.approx(-0.5 / math.sqrt(1e-6))


def test_open_unlearning_columns_agree_with_loops() -> None:
    records = random_statistics(np.random.default_rng(8), 30)
    result = open_unlearning.columns(records)
    for place, record in enumerate(records):
        right, logs = list(record.correct[:-1]), list(record.log_probability[:-1])
        if not right:
            continue
        k = 0
        for k in range(len(right)):
            if all(right[k:]):
                break
        assert result["extraction_strength"][place] == pytest.approx(1 - k / len(right))
        least = sorted(logs)[: max(1, int(len(logs) * 0.4))]
        assert result["min_k"][place] == pytest.approx(sum(least) / len(least))
        assert result["exact_memorization"][place] == pytest.approx(sum(right) / len(right))
