"""Intervals: honest about what they stand on, and the same however memory is cut."""

import math

import numpy as np
import pytest

from core.evaluation.bootstrap import Resamples, interval, weighted_means


def counts(resamples: Resamples, records: int, rows: int) -> np.ndarray:
    return np.concatenate(list(resamples.blocks(records, rows=rows)))


def test_every_resample_draws_as_many_records_as_there_are() -> None:
    drawn = counts(Resamples(0, "forget"), 37, 400)
    assert drawn.shape == (1000, 37)
    assert (drawn.sum(axis=1) == 37).all()
    # with replacement, each record alike: (1 - 1/37)^37 are left out
    assert (drawn == 0).mean() == pytest.approx((1 - 1 / 37) ** 37, abs=0.01)
    assert drawn.mean(axis=0) == pytest.approx(np.ones(37), abs=0.15)


@pytest.mark.parametrize("rows", [1, 7, 1000, 5000])
def test_resamples_do_not_depend_on_how_many_are_made_at_once(rows: int) -> None:
    assert (counts(Resamples(3, "unseen"), 13, rows) == counts(Resamples(3, "unseen"), 13, 333)).all()


def test_resamples_depend_on_seed_and_set() -> None:
    one = counts(Resamples(3, "unseen"), 13, 500)
    assert (one != counts(Resamples(4, "unseen"), 13, 500)).any()
    assert (one != counts(Resamples(3, "retain"), 13, 500)).any()


def test_a_means_interval_is_that_of_resampling_record_by_record() -> None:
    generator = np.random.default_rng(8)
    values, weights = generator.normal(size=25), generator.integers(1, 9, size=25).astype(float)
    resamples = Resamples(1, "forget")
    figure = weighted_means({"x": (values, weights)}, resamples, through={"x": np.exp})["x"]
    means = []
    for drawn in counts(resamples, 25, 1000):
        chosen = [index for index, times in enumerate(drawn) for _ in range(int(times))]
        means.append(math.exp(sum(values[i] * weights[i] for i in chosen) / sum(weights[i] for i in chosen)))
    means.sort()
    assert figure.value == pytest.approx(math.exp((values * weights).sum() / weights.sum()))
    assert figure.low == pytest.approx(np.quantile(means, 0.025))
    assert figure.high == pytest.approx(np.quantile(means, 0.975))
    assert figure.records == 25


def test_an_interval_of_normal_values_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(0).normal(size=400)
    figure = weighted_means({"x": (values, np.ones(400))}, Resamples(0, "forget"), through={})["x"]
    assert figure.low is not None
    assert figure.high is not None
    assert figure.high - figure.low == pytest.approx(2 * 1.96 / math.sqrt(400), rel=0.15)


def test_one_record_has_a_value_and_no_interval() -> None:
    figure = weighted_means({"x": (np.array([2.0]), np.array([3.0]))}, Resamples(0, "forget"), through={})["x"]
    assert (figure.value, figure.low, figure.high, figure.records) == (2.0, None, None, 1)


def test_a_mean_over_no_records_is_refused() -> None:
    with pytest.raises(ValueError, match="no records"):
        weighted_means({"x": (np.array([]), np.array([]))}, Resamples(0, "forget"), through={})


def test_the_interval_leaves_a_fortieth_on_each_side() -> None:
    assert interval(np.arange(1001.0)) == (25.0, 975.0)
