"""How often intervals hold the true mean, of values made by chance."""

import pytest

from benchmarks.intervals import CASES, tallies

BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize(("name", "records"), [("CE, normal", 20), ("CE, lognormal", 60), ("rank among twins", 20)])
def test_our_interval_holds_the_mean_as_often_as_it_says(name: str, records: int) -> None:
    found = tallies(BY_NAME[name], records, trials=200, resamples=200)
    assert found["ours"].holds >= 0.92
    assert found["ours"].width <= 1.15 * found["Student"].width


@pytest.mark.parametrize("name", ["CE, 2 % lie 8 nats off", "change of CE, 2 % lie 0.3 off"])
def test_where_far_records_are_among_those_measured_it_ends_too_low_less_often_than_percentiles(name: str) -> None:
    found = tallies(BY_NAME[name], 200, trials=400, resamples=200)
    assert found["ours"].holds >= 0.93
    assert found["ours"].below < found["percentile"].below


def test_no_way_knows_of_far_records_that_are_not_among_those_measured() -> None:
    """Of 60 records, of which 2 in 100 are far off, 0.98 ** 60 = 0.3 of samples hold none."""
    found = tallies(BY_NAME["CE, 2 % lie 8 nats off"], 60, trials=200, resamples=200)
    assert max(one.holds for one in found.values()) < 0.88
