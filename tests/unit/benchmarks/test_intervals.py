"""How often intervals hold the true mean of random values."""

import pytest

from benchmarks.intervals import CASES, tallies

BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize(("name", "records"), [("CE, normal", 20), ("CE, lognormal", 60), ("rank among twins", 20)])
def test_our_interval_holds_the_mean_as_often_as_it_says(name: str, records: int) -> None:
    tally_of = tallies(BY_NAME[name], records, trials=200, resamples=200)
    assert tally_of["ours"].holds >= 0.92
    assert tally_of["ours"].width <= 1.15 * tally_of["Student"].width


@pytest.mark.parametrize("name", ["CE, 2 % lie 8 nats off", "change of CE, 2 % lie 0.3 off"])
def test_with_far_records_in_the_sample_our_interval_ends_too_low_less_often_than_percentiles(name: str) -> None:
    tally_of = tallies(BY_NAME[name], 200, trials=400, resamples=200)
    assert tally_of["ours"].holds >= 0.93
    assert tally_of["ours"].below < tally_of["percentile"].below


def test_no_interval_covers_far_records_that_are_not_among_the_measured_records() -> None:
    """Of 60 records, of which 2 in 100 are far off, 0.98 ** 60 = 0.3 of samples hold none."""
    tally_of = tallies(BY_NAME["CE, 2 % lie 8 nats off"], 60, trials=200, resamples=200)
    assert max(tally.holds for tally in tally_of.values()) < 0.88
