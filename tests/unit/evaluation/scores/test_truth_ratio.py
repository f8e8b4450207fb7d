"""Truth ratios and the right answer's probability among wrong ones: worked by hand, and beside loops in float64."""

import math

import numpy as np
import pytest
from scipy import stats

from core.evaluation.eval_context import Columns
from core.evaluation.scores import truth_ratio
from core.schema.evaluation import SetName

# right 1/2, in other words 1/4; wrong answers 1/8 and 1/32: their geometric mean is 1/16, their arithmetic 5/64
RIGHT, TRUE, WRONG = math.log(2), math.log(4), [math.log(8), math.log(32)]


def columns(right: list[float], true: list[float], wrong: list[list[float]]) -> Columns:
    return {
        "right": np.array(right),
        "true": np.array(true),
        "wrong": np.array([sum(losses) / len(losses) for losses in wrong]),
        "wrong_log_sum": np.array([np.logaddexp.reduce([-loss for loss in losses]) for losses in wrong]),
        "wrong_count": np.array([float(len(losses)) for losses in wrong]),
    }


ONE = columns([RIGHT], [TRUE], [WRONG])


def test_the_probability_among_wrong_answers_is_the_right_answers_share() -> None:
    assert truth_ratio.probability_among_wrong(ONE) == pytest.approx(np.array([(1 / 2) / (1 / 2 + 1 / 8 + 1 / 32)]))


def test_the_truth_ratio_divides_the_wrong_answers_geometric_mean_by_the_paraphrase() -> None:
    assert np.exp(truth_ratio.log_ratios(ONE)) == pytest.approx(np.array([(1 / 16) / (1 / 4)]))


def test_the_arithmetic_truth_ratio_uses_the_arithmetic_mean() -> None:
    assert np.exp(truth_ratio.arithmetic_log_ratios(ONE)) == pytest.approx(np.array([(5 / 64) / (1 / 4)]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("forget", [1 / 4, 1, 1 / 4]),
        ("probes", [1 / 4, 1, 1 / 4]),
        ("protected", [3 / 4, 0, 0]),
        ("retain", [3 / 4, 0, 0]),
    ],
)
def test_the_truth_ratio_is_best_at_one_for_forget_and_at_zero_elsewhere(name: SetName, expected: list[float]) -> None:
    logs = np.log([1 / 4, 1.0, 4.0])
    assert truth_ratio.truth_ratios(logs, name) == pytest.approx(np.array(expected), abs=1e-12)


def test_truth_ratios_agree_with_loops_over_random_answers() -> None:
    generator = np.random.default_rng(3)
    right, true = generator.exponential(2.0, (2, 40))
    wrong = [list(generator.exponential(3.0, size=count)) for count in generator.integers(1, 6, size=40)]
    result = columns(list(right), list(true), wrong)
    for place, losses in enumerate(wrong):
        probabilities = [math.exp(-loss) for loss in losses]
        share = math.exp(-right[place]) / (math.exp(-right[place]) + sum(probabilities))
        ratio = math.prod(probabilities) ** (1 / len(losses)) / math.exp(-true[place])
        arithmetic = sum(probabilities) / len(losses) / math.exp(-true[place])
        assert truth_ratio.probability_among_wrong(result)[place] == pytest.approx(share)
        logs, others = truth_ratio.log_ratios(result), truth_ratio.arithmetic_log_ratios(result)
        assert math.exp(logs[place]) == pytest.approx(ratio)
        assert math.exp(others[place]) == pytest.approx(arithmetic)
        assert truth_ratio.truth_ratios(logs, "forget")[place] == pytest.approx(min(ratio, 1 / ratio))
        assert truth_ratio.truth_ratios(logs, "general")[place] == pytest.approx(max(0.0, 1 - ratio))


@pytest.mark.parametrize("right", [0.0, 5000.0])
@pytest.mark.parametrize("wrong", [0.0, 5000.0])
def test_answers_that_are_certain_or_impossible_still_give_numbers(right: float, wrong: float) -> None:
    extreme = columns([right], [right], [[wrong, wrong]])
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        figures = [truth_ratio.probability_among_wrong(extreme)]
        for logs in (truth_ratio.log_ratios(extreme), truth_ratio.arithmetic_log_ratios(extreme)):
            figures += [truth_ratio.truth_ratios(logs, "forget"), truth_ratio.truth_ratios(logs, "protected")]
    assert all(0 <= float(values[0]) <= 1 for values in figures)


def test_the_kolmogorov_smirnov_statistic_is_the_largest_distance_of_the_distributions() -> None:
    statistic, probability = truth_ratio.kolmogorov_smirnov(np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6]))
    assert statistic == pytest.approx(0.5)  # half of the first lie below all of the second
    assert probability == pytest.approx(54 / 70)  # of the 70 orders of 4 and 4, 16 stay closer than half


def test_the_kolmogorov_smirnov_test_is_the_same_for_ratios_and_their_logarithms() -> None:
    first, second = np.random.default_rng(1).normal(size=(2, 30))
    of_ratios = stats.ks_2samp(np.exp(first), np.exp(second))
    assert truth_ratio.kolmogorov_smirnov(first, second) == (of_ratios.statistic, of_ratios.pvalue)
