"""Leak rates from samples, against counting every choice of k samples and the binomial distribution itself."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from core.evaluation.stats.leak_rates import clopper_pearson, highest_rate, leak_at_k


@pytest.mark.parametrize(("leaks", "samples"), [(0, 6), (1, 6), (3, 7), (6, 6)])
def test_leak_at_k_is_the_share_of_choices_that_hold_a_leak(leaks: int, samples: int) -> None:
    for k in range(1, samples + 1):
        choices = list(combinations([True] * leaks + [False] * (samples - leaks), k))
        assert leak_at_k(leaks, samples, k) == pytest.approx(sum(map(any, choices)) / len(choices), abs=1e-15)


def test_leak_at_k_is_unbiased() -> None:
    samples, k, rate = 12, 5, 0.15
    mean = sum(stats.binom.pmf(count, samples, rate) * leak_at_k(count, samples, k) for count in range(samples + 1))
    assert mean == pytest.approx(1 - (1 - rate) ** k, abs=1e-12)


@pytest.mark.parametrize("k", [0, 7])
def test_no_more_samples_can_be_chosen_than_were_drawn(k: int) -> None:
    with pytest.raises(ValueError, match="k is 1 to 6"):
        leak_at_k(1, 6, k)


@pytest.mark.parametrize(("leaks", "samples"), [(0, 200), (1, 200), (57, 200), (200, 200)])
def test_clopper_pearson_leaves_the_same_chance_on_both_sides(leaks: int, samples: int) -> None:
    low, high = clopper_pearson(leaks, samples, level=0.95)
    if leaks > 0:
        assert stats.binom.sf(leaks - 1, samples, low) == pytest.approx(0.025)
    if leaks < samples:
        assert stats.binom.cdf(leaks, samples, high) == pytest.approx(0.025)
    assert (low == 0.0, high == 1.0) == (leaks == 0, leaks == samples)


def test_the_limits_hold_the_highest_true_rate_of_several_records() -> None:
    generator, rates = np.random.default_rng(0), np.array([0.0, 0.02, 0.05, 0.05])
    held = 0
    for _ in range(500):
        value, low, high = highest_rate(generator.binomial(200, rates).astype(float), 200, level=0.95)
        assert low <= value <= high
        held += low <= rates.max() <= high
    assert held >= 0.95 * 500
    assert highest_rate(np.array([3.0]), 200, level=0.95)[1:] == clopper_pearson(3, 200, level=0.95)
