"""Differences and ratios of figures with intervals, by hand and by chance."""

import math

import numpy as np
import pytest

from core.evaluation.stats.comparison import (
    Comparison,
    NoRatio,
    as_constant,
    compare,
    interval_from_larger_sample,
    uncompared,
    without_spread,
)
from core.schema.evaluation import Figure


def figure(value: float, low: float | None = None, high: float | None = None, records: int = 100) -> Figure:
    return Figure(value=value, low=low, high=high, records=records)


def test_a_difference_takes_the_ends_that_are_farthest_apart() -> None:
    comparison = compare(figure(5.0, 2.0, 6.0), figure(3.0, 2.5, 7.0), "difference")
    assert comparison == Comparison(2.0, 2 - math.hypot(5 - 2, 7 - 3), 2 + math.hypot(6 - 5, 3 - 2.5))
    assert comparison.low == -3.0


def test_a_ratio_is_a_difference_of_logarithms() -> None:
    comparison = compare(figure(8.0, 4.0, 16.0), figure(2.0, 1.0, 4.0), "ratio")
    times = 2 ** math.sqrt(2)
    assert comparison.value == pytest.approx(4.0)
    assert comparison.low == pytest.approx(4 / times)
    assert comparison.high == pytest.approx(4 * times)
    vast = compare(figure(1e304, 1e303, 1e304), figure(1e-3, 1e-4, 1e-2), "ratio")
    assert math.isfinite(vast.value)
    assert vast.high is not None
    assert math.isfinite(vast.high)


def test_there_is_no_ratio_of_nothing() -> None:
    for value, other in ((0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)):
        with pytest.raises(NoRatio):
            compare(figure(value, value, value), figure(other, other, other), "ratio")
    with pytest.raises(NoRatio):
        compare(figure(1.0, 0.0, 2.0), figure(1.0, 1.0, 1.0), "ratio")


def test_what_has_no_interval_gives_none_unless_it_is_said_to_be_known() -> None:
    assert compare(figure(2.0), figure(1.0, 0.5, 1.5), "difference") == Comparison(1.0, None, None)
    assert compare(figure(2.0, 1.0, 3.0), figure(1.0), "difference") == Comparison(1.0, None, None)
    assert compare(figure(2.0, 1.0, 3.0), as_constant(figure(1.0)), "difference") == Comparison(1.0, 0.0, 2.0)
    assert compare(figure(4.0, 2.0, 8.0), figure(2.0), "ratio") == Comparison(2.0, None, None)
    assert uncompared(figure(2.0, 1.0, 3.0)) == Comparison(2.0, 1.0, 3.0)


def test_a_single_record_and_a_few_that_do_not_differ_have_no_interval() -> None:
    for kept in (figure(1.0, 0.9, 1.2, records=2), figure(1.0, 0.9, 1.2, records=20), figure(1.0, 1.0, 1.0, 20)):
        assert without_spread(kept) == kept
    for nothing in (figure(1.0, records=1), figure(1.0, 1.0, 1.0, records=19), figure(1.0, 0.9, 1.1, records=1)):
        assert (without_spread(nothing).low, without_spread(nothing).high) == (None, None)


def test_a_single_record_is_as_unsure_as_one_of_many_like_it() -> None:
    like = figure(10.0, 9.0, 12.0, records=100)
    comparison = interval_from_larger_sample(figure(4.0, records=1), like, "difference")
    assert (comparison.value, comparison.low, comparison.high) == (4.0, -6.0, 24.0)
    students = (4 / 3) ** 0.5 * 3.182446 / 1.959964  # of t tables: 3 degrees of freedom, 97.5 %
    four = interval_from_larger_sample(figure(4.0, 3.9, 4 + 20 * students, records=4), like, "difference")
    assert (four.low, four.high) == (-1.0, pytest.approx(24.0))  # never narrower than its own, but for Student's part
    low = interval_from_larger_sample(figure(4.0, 4 - 11 * students, 5.0, records=4), like, "difference").low
    assert low == pytest.approx(-7.0)


def test_widening_of_a_ratio_is_by_factors() -> None:
    comparison = interval_from_larger_sample(figure(5.0, records=1), figure(10.0, 5.0, 40.0, records=25), "ratio")
    assert comparison.low == pytest.approx(5 / 2**5)
    assert comparison.high == pytest.approx(5 * 4**5)
    zero = figure(0.0, 0.0, 0.0, records=5)
    assert interval_from_larger_sample(zero, figure(10.0, 5.0, 40.0, records=25), "ratio").low is None


def test_what_stands_on_few_records_and_has_no_larger_sample_beside_it_has_no_interval() -> None:
    many = figure(4.0, 3.9, 4.1, records=20)
    assert interval_from_larger_sample(many, figure(10.0, 0.0, 20.0, records=100), "difference") == many
    assert interval_from_larger_sample(many, None, "difference") == many
    few = figure(4.0, 3.9, 4.1, records=19)
    for like in (None, figure(10.0, 9.0, 12.0, records=19), figure(10.0, records=100)):
        comparison = interval_from_larger_sample(few, like, "difference")
        assert (comparison.value, comparison.low, comparison.high) == (4.0, None, None)
    assert interval_from_larger_sample(few, figure(10.0, 9.0, 12.0, records=20), "difference").low is not None


def test_the_interval_of_one_record_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for value, others in zip(generator.normal(0, 1, 2000), generator.normal(0, 1, (2000, 100)), strict=True):
        mean, half = others.mean(), 1.96 * others.std(ddof=1) / 10
        like = figure(mean, mean - half, mean + half)
        comparison = compare(
            interval_from_larger_sample(figure(value, records=1), like, "difference"), like, "difference"
        )
        assert comparison.low is not None
        assert comparison.high is not None
        held += comparison.low <= 0 <= comparison.high
    assert 0.93 < held / 2000 < 0.97
