"""Bootstrap intervals: their coverage, and that the block size in memory does not change them."""

import math

import numpy as np
import pytest
import scipy.stats

from core.evaluation.stats.bootstrap import AMOUNT, CHANGE, Resamples, interval, weighted_means

AMOUNTS, CHANGES = {"x": AMOUNT}, {"x": CHANGE, "a": CHANGE}


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
    drawn = counts(Resamples(3, "unseen"), 13, 500)
    assert (drawn != counts(Resamples(4, "unseen"), 13, 500)).any()
    assert (drawn != counts(Resamples(3, "retain"), 13, 500)).any()


def drawn_means(values: np.ndarray, weights: np.ndarray, resamples: Resamples) -> list[float]:
    """Each resample's mean, record by record, ascending."""
    means = []
    for drawn in counts(resamples, len(values), 1000):
        chosen = [index for index, times in enumerate(drawn) for _ in range(int(times))]
        means.append(sum(values[i] * weights[i] for i in chosen) / sum(weights[i] for i in chosen))
    return sorted(means)


def test_a_means_interval_reaches_as_far_as_the_wider_of_students_and_the_accelerated_bootstraps() -> None:
    """BCa's as the library has it, on resamples of its own; Student's by its formula."""
    generator = np.random.default_rng(8)
    values = generator.lognormal(0, 1, size=60)
    figure = weighted_means({"x": (values, np.ones(60))}, Resamples(1, "a", 20_000), through={}, ranges=AMOUNTS)["x"]
    library = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(0))
    accelerated = library.confidence_interval
    half = 2.000995 * values.std(ddof=1) / math.sqrt(60)  # of t tables: 59 degrees of freedom, 97.5 %
    assert values.mean() - half < accelerated.low
    assert values.mean() + half < accelerated.high
    assert figure.low == pytest.approx(values.mean() - half, rel=1e-6)
    assert figure.high == pytest.approx(accelerated.high, rel=0.01)
    mirrored = weighted_means({"x": (-values, np.ones(60))}, Resamples(1, "a", 20_000), through={}, ranges=CHANGES)["x"]
    assert (mirrored.low, mirrored.high) == (pytest.approx(-accelerated.high, rel=0.01), pytest.approx(-figure.low))


def test_weights_are_drawn_with_their_records_and_the_interval_goes_through_the_function() -> None:
    generator = np.random.default_rng(8)
    values, weights = generator.normal(5, 1, size=400), generator.integers(1, 9, size=400).astype(float)
    resamples = Resamples(1, "forget")
    figure = weighted_means({"x": (values, weights)}, resamples, through={"x": np.exp}, ranges=AMOUNTS)["x"]
    means = drawn_means(values, weights, resamples)
    assert figure.value == pytest.approx(math.exp((values * weights).sum() / weights.sum()))
    assert figure.low == pytest.approx(math.exp(np.quantile(means, 0.025)), rel=0.02)
    assert figure.high == pytest.approx(math.exp(np.quantile(means, 0.975)), rel=0.02)
    assert figure.records == 400


@pytest.mark.parametrize("records", [2, 3, 5, 10])
def test_the_interval_of_a_few_records_holds_the_truth_as_often_as_it_says(records: int) -> None:
    generator = np.random.default_rng(records)
    held = 0
    for sample in range(400):
        values = generator.normal(0, 1, records)
        figures = weighted_means(
            {"a": (values, np.ones(records))}, Resamples(sample, "a", 200), through={}, ranges=CHANGES
        )
        assert None not in (figures["a"].low, figures["a"].high)
        held += figures["a"].low <= 0 <= figures["a"].high  # type: ignore[operator]
    assert held / 400 > 0.93


def test_no_interval_reaches_beyond_what_a_value_can_be() -> None:
    values, equal = np.array([0.9, 1.0, 0.2]), np.ones(3)
    share = weighted_means({"x": (values, equal)}, Resamples(0, "a"), through={})["x"]
    assert (share.low, share.high) == (0.0, 1.0)
    amount = weighted_means({"x": (values, equal)}, Resamples(0, "a"), through={}, ranges=AMOUNTS)["x"]
    assert amount.low == 0.0
    assert amount.high is not None
    assert amount.high > 1.5
    with pytest.raises(ValueError, match="'x' has values outside of 0 to 1"):
        weighted_means({"x": (values * 2, equal)}, Resamples(0, "a"), through={})


def test_records_that_do_not_differ_have_an_interval_of_no_width() -> None:
    figure = weighted_means({"x": (np.zeros(30), np.ones(30))}, Resamples(0, "a"), through={"x": np.exp})["x"]
    assert (figure.low, figure.value, figure.high) == (1.0, 1.0, 1.0)


def test_an_interval_of_normal_values_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(0).normal(size=400)
    figure = weighted_means({"x": (values, np.ones(400))}, Resamples(0, "forget"), through={}, ranges=CHANGES)["x"]
    assert figure.low is not None
    assert figure.high is not None
    assert figure.high - figure.low == pytest.approx(2 * 1.96 / math.sqrt(400), rel=0.15)


def test_one_record_has_a_value_and_no_interval() -> None:
    figure = weighted_means({"x": (np.array([0.5]), np.array([3.0]))}, Resamples(0, "forget"), through={})["x"]
    assert (figure.value, figure.low, figure.high, figure.records) == (0.5, None, None, 1)


def test_a_mean_over_no_records_is_refused() -> None:
    with pytest.raises(ValueError, match="no records"):
        weighted_means({"x": (np.array([]), np.array([]))}, Resamples(0, "forget"), through={})


def test_the_interval_leaves_a_fortieth_on_each_side() -> None:
    assert interval(np.arange(1001.0)) == (25.0, 975.0)
