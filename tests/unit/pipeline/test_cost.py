"""Seconds and passes, booked on phases; the clock is the test's own."""

import pytest

from core.lm.flops import METER, ComputeUsage, ModelFlops
from core.lm.process_group import Ranks
from core.pipeline import cost
from core.pipeline.cost import JobCost, meter_other_ranks


@pytest.fixture
def clock(monkeypatch):
    """Sets the time."""
    now = [100.0]
    monkeypatch.setattr(cost.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def job(clock):
    """Loads from 90 to 101, measures to 103 and, 1 s later, to 105; trains to 115, measures to 120."""
    expenses = JobCost(began=90.0)
    for phase, start, end, spent in (
        ("loading", 100, 101, ComputeUsage()),
        ("measuring_before", 101, 103, ComputeUsage(30, 60.0)),
        ("measuring_before", 104, 105, ComputeUsage(6, 12.0)),
        ("unlearning", 105, 115, ComputeUsage(200, 1200.0)),
        ("measuring_after", 115, 120, ComputeUsage(44, 88.0)),
    ):
        clock(start)
        METER.count(ComputeUsage(1000, 1000.0))  # nobody's
        expenses.turn_to(phase)
        METER.count(spent)
        clock(end)
        expenses.book()
    return expenses


def test_what_is_between_turning_to_a_phase_and_booking_it_is_its(clock):
    fields = job(clock).fields(None)
    assert fields["seconds"] == {"loading": 11, "measuring_before": 3, "unlearning": 10, "measuring_after": 5}
    assert fields["passed"] == {"measuring_before": 36, "unlearning": 200, "measuring_after": 44}
    assert fields["flops"] == {"measuring_before": 72, "unlearning": 1200, "measuring_after": 88}
    assert fields["tokens_per_second"] == {"unlearning": 20, "measuring": 80 / 8}


def test_a_retraining_is_known_where_model_and_tokens_are(clock):
    expenses = job(clock)
    assert expenses.fields(500)["retraining_flops"] is None
    expenses.model = ModelFlops(weights=9, head=1, width=3)
    unknown, known = expenses.fields(None), expenses.fields(500)
    assert (unknown["retraining_flops"], unknown["retraining_share"]) == (None, None)
    assert (known["retraining_flops"], known["retraining_share"]) == (6 * 10 * 500, (72 + 1200 + 88) / 30_000)


def test_a_job_that_passed_nothing_has_no_speed(clock):
    fields = JobCost(began=90.0).fields(None)
    assert (fields["passed"], fields["tokens_per_second"]) == ({}, {})


def test_what_other_ranks_passed_is_counted_beside_ones_own():
    class Two(Ranks):
        def all_reduce(self, values):
            return values + values.new_tensor([30, 60.0])

    began = METER.reading
    METER.count(ComputeUsage(5, 10.0))
    meter_other_ranks(Two(), began)
    assert METER.reading - began == ComputeUsage(35, 70.0)
    meter_other_ranks(Ranks(), began)
    assert METER.reading - began == ComputeUsage(35, 70.0)
