"""Intervals of an AUC, compared with their equations and with their coverage by simulation."""

from math import comb
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.evaluation.stats.auc import binomial, delong, joint_interval, joint_level, newcombe

few_values = st.lists(st.integers(-3, 3), min_size=1, max_size=12)


def naive_delong(members: list[float], others: list[float]) -> tuple[float, float]:
    """AUC and variance from every pair, as DeLong's equations 3 to 5 are written."""
    pairs = [[1.0 if x > y else 0.5 if x == y else 0.0 for y in others] for x in members]
    m, n = len(members), len(others)
    auc = sum(map(sum, pairs)) / (m * n)
    of_member = [sum(row) / n for row in pairs]
    of_other = [sum(row[j] for row in pairs) / m for j in range(n)]
    variance = 0.0
    for shares in (of_member, of_other):
        if len(shares) > 1:
            variance += sum((share - auc) ** 2 for share in shares) / (len(shares) - 1) / len(shares)
    return auc, variance


@settings(derandomize=True, deadline=None, max_examples=60)
@given(members=few_values, others=few_values)
def test_delongs_variance_is_that_of_all_pairs(members: list[float], others: list[float]) -> None:
    computed = delong(np.array(members, float), np.array(others, float))
    assert tuple(map(float, computed)) == pytest.approx(naive_delong(members, others))


def test_delongs_variance_worked_by_hand() -> None:
    # pairs: 3 > 2 and 3 > 0; 1 < 2, 1 > 0. Shares of members 1, 1/2; of others 1/2, 1; mean 3/4.
    auc, variance = delong(np.array([3.0, 1.0]), np.array([2.0, 0.0]))
    assert float(auc) == 0.75
    assert float(variance) == pytest.approx(2 * (2 * 0.25**2) / 1 / 2)


@pytest.mark.parametrize("level", [0.95, 0.99])
@pytest.mark.parametrize(("auc", "members", "others"), [(0.7, 30, 40), (0.5, 10, 10), (1.0, 5, 5), (0.0, 8, 3)])
def test_newcombes_limits_solve_his_equation(auc: float, members: int, others: int, level: float) -> None:
    typical, z = (members + others) / 2, NormalDist().inv_cdf((1 + level) / 2)
    low, high = map(float, newcombe(np.array(auc), members, others, level=level))
    assert 0 <= low <= auc <= high <= 1
    for limit in (low, high):
        spread = 1 + (typical - 1) * ((1 - limit) / (2 - limit) + limit / (1 + limit))
        error = (limit * (1 - limit) * spread / (members * others)) ** 0.5
        assert abs(auc - limit) == pytest.approx(z * error, abs=1e-6)


def binomial_tail(trials: int, wins: int, share: float) -> float:
    """How probable so many wins, or more, are."""
    return sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(wins, trials + 1))


@pytest.mark.parametrize(("wins", "members", "others"), [(3, 30, 4), (2, 5, 90), (7, 8, 8)])
def test_few_records_limits_leave_half_a_percent_of_a_binomial_on_each_side(
    wins: int, members: int, others: int
) -> None:
    trials = min(members, others)
    low, high = map(float, binomial(np.array(wins / trials), members, others, level=0.99))
    assert binomial_tail(trials, wins, low) == pytest.approx(0.005)
    assert binomial_tail(trials, trials - wins, 1 - high) == pytest.approx(0.005)


def test_few_records_limits_at_the_corners() -> None:
    low, high = binomial(np.array([0.0, 1.0]), 1, 100, level=0.99)
    assert low == pytest.approx([0.0, 0.005])
    assert high == pytest.approx([0.995, 1.0])


def test_many_intervals_that_hold_together_are_each_at_a_higher_level() -> None:
    assert joint_level(1) == pytest.approx(0.95)
    assert joint_level(5) == pytest.approx(0.99)


@pytest.mark.parametrize("spread", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("truth", [0.5, 0.75, 0.9])
@pytest.mark.parametrize(("members", "others"), [(1, 100), (5, 5), (5, 100), (20, 20), (20, 200), (100, 100)])
def test_the_joint_interval_holds_as_often_as_it_says(members: int, others: int, truth: float, spread: float) -> None:
    """Binormal scores of a known AUC, members `spread` times as wide as others."""
    generator, times = np.random.default_rng([members, others]), 1000
    shift = NormalDist().inv_cdf(truth) * (1 + spread**2) ** 0.5
    low, high = joint_interval(
        generator.normal(shift, spread, (times, members)), generator.normal(size=(times, others)), level=0.99
    )
    assert np.isfinite([low, high]).all()
    # Three standard errors of a thousand trials under 99 %.
    assert ((low <= truth) & (truth <= high)).mean() > 0.99 - 3 * (0.01 * 0.99 / times) ** 0.5


def test_many_records_have_an_interval_no_wider_than_theory_asks() -> None:
    generator = np.random.default_rng(5)
    low, high = joint_interval(generator.normal(size=(50, 200)), generator.normal(size=(50, 200)), level=0.99)
    # no difference: variance of the Mann-Whitney statistic, (m + n + 1) / (12 m n)
    assert (high - low).mean() == pytest.approx(2 * 2.5758 * (401 / (12 * 200 * 200)) ** 0.5, rel=0.05)


@pytest.mark.parametrize("count", [1, 5, 40, 300])
def test_perfect_separation_is_never_called_certain(count: int) -> None:
    low, high = joint_interval(np.arange(count) + 1000.0, np.arange(float(count)), level=0.99)
    assert float(high) == 1.0
    assert float(low) < 1.0
    low, high = joint_interval(np.arange(float(count)), np.arange(count) + 1000.0, level=0.99)
    assert float(low) == 0.0
    assert float(high) > 0.0


def test_scores_that_are_all_equal_say_nothing() -> None:
    low, high = joint_interval(np.zeros(30), np.zeros(30), level=0.99)
    assert float(low) < 0.4
    assert float(high) > 0.6
