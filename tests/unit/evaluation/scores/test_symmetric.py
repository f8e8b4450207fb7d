"""The symmetric score of two values: worked by hand, and beside loops in float64."""

import math

import numpy as np
import pytest

from core.evaluation.scores.symmetric import symmetric_score, symmetric_scores
from core.evaluation.stats.bootstrap import Resamples
from core.evaluation.stats.student_t import student_factor


def naive(first: float, second: float) -> float:
    size = abs(first) + abs(second)
    return 1.0 if size == 0 else 1 - abs(first - second) / size


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (3.0, 1.0, 0.5),  # 1 - 2 / 4
        (1.0, 3.0, 0.5),
        (-3.0, -1.0, 0.5),
        (2.0, 2.0, 1.0),
        (0.0, 0.0, 1.0),  # 0/0: the two are equal
        (0.0, 1e-300, 0.0),
        (1.0, -1e-9, 0.0),  # one falls, the other rises
    ],
)
def test_the_symmetric_score_of_two_values_by_hand(first: float, second: float, expected: float) -> None:
    assert symmetric_scores(np.array([first]), np.array([second]))[0] == pytest.approx(expected, abs=1e-15)


def test_symmetric_scores_agree_with_a_loop_and_lie_between_0_and_1() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 500)) * 10.0 ** generator.integers(-9, 9, size=(2, 500))
    scores = symmetric_scores(first, second)
    expected = [naive(*pair) for pair in zip(first.tolist(), second.tolist(), strict=True)]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(scores, symmetric_scores(second, first))
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_a_figure_is_the_score_of_two_means_with_an_interval_from_the_same_resamples() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.gamma(2.0, size=30), generator.gamma(3.0, size=30)
    resamples = Resamples(0, "forget")
    figure = symmetric_score(first, second, resamples)
    assert figure.value == pytest.approx(naive(math.fsum(first) / 30, math.fsum(second) / 30), abs=1e-15)
    resampled = []
    for counts in resamples.blocks(30, rows=1):
        drawn = [index for index, count in enumerate(counts[0]) for _ in range(int(count))]
        resampled.append(naive(math.fsum(first[drawn]) / 30, math.fsum(second[drawn]) / 30))
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert figure.low == pytest.approx(figure.value - student_factor(30) * (figure.value - low), abs=1e-12)
    assert figure.high == pytest.approx(min(1, figure.value + student_factor(30) * (high - figure.value)), abs=1e-12)
    assert figure.records == 30


def test_an_interval_holds_the_score_of_equal_means_and_stays_between_0_and_1() -> None:
    values = np.arange(1.0, 7.0)
    figure = symmetric_score(values, values[::-1].copy(), Resamples(0, "forget"))
    assert figure.value == figure.high == 1
    assert figure.low is not None
    assert 0 < figure.low < 1


def test_the_same_values_score_1_for_certain_and_a_single_record_has_no_interval() -> None:
    zeros = np.zeros(4)
    same = symmetric_score(zeros, zeros, Resamples(0, "forget"))
    assert (same.value, same.low, same.high) == (1, 1, 1)
    single = symmetric_score(np.array([0.2]), np.array([0.1]), Resamples(0, "forget"))
    assert (single.value, single.low, single.high) == (pytest.approx(2 / 3), None, None)
    with pytest.raises(ValueError, match="no records"):
        symmetric_score(zeros[:0], zeros[:0], Resamples(0, "forget"))
