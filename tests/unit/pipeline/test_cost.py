"""Seconds and compute, charged to phases; the test sets the clock."""

import pytest

from core.lm.flops import METER, ComputeUsage, ModelFlops
from core.lm.process_group import Ranks
from core.pipeline import cost as cost_module
from core.pipeline.cost import CostMeter, meter_other_ranks


@pytest.fixture
def clock(monkeypatch):
    """A function that sets the time."""
    now = [100.0]
    monkeypatch.setattr(cost_module.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def job(clock):
    """Loads from 90 to 101, measures to 103 and, 1 s later, to 105; trains to 115, measures to 120."""
    cost = CostMeter(began=90.0)
    for phase, start, end, usage in (
        ("loading", 100, 101, ComputeUsage()),
        ("measuring_before", 101, 103, ComputeUsage(30, 60.0)),
        ("measuring_before", 104, 105, ComputeUsage(6, 12.0)),
        ("unlearning", 105, 115, ComputeUsage(200, 1200.0)),
        ("measuring_after", 115, 120, ComputeUsage(44, 88.0)),
    ):
        clock(start)
        METER.count(ComputeUsage(1000, 1000.0))  # between two phases
        cost.start(phase)
        METER.count(usage)
        clock(end)
        cost.stop()
    return cost


def test_a_phase_is_charged_with_what_happens_between_its_start_and_its_stop(clock):
    fields = job(clock).fields(None)
    assert fields["seconds"] == {"loading": 11, "measuring_before": 3, "unlearning": 10, "measuring_after": 5}
    assert fields["passed"] == {"measuring_before": 36, "unlearning": 200, "measuring_after": 44}
    assert fields["flops"] == {"measuring_before": 72, "unlearning": 1200, "measuring_after": 88}
    assert fields["tokens_per_second"] == {"unlearning": 20, "measuring": 80 / 8}


def test_the_cost_of_retraining_needs_the_model_and_its_training_tokens(clock):
    cost = job(clock)
    assert cost.fields(500)["retraining_flops"] is None
    cost.model = ModelFlops(weights=9, head=1, width=3)
    unknown, known = cost.fields(None), cost.fields(500)
    assert (unknown["retraining_flops"], unknown["retraining_share"]) == (None, None)
    assert (known["retraining_flops"], known["retraining_share"]) == (6 * 10 * 500, (72 + 1200 + 88) / 30_000)


def test_a_job_without_tokens_has_no_speed(clock):
    fields = CostMeter(began=90.0).fields(None)
    assert (fields["passed"], fields["tokens_per_second"]) == ({}, {})


def test_the_compute_of_other_ranks_is_added_to_the_own():
    class Two(Ranks):
        def all_reduce(self, values):
            return values + values.new_tensor([30, 60.0])

    began = METER.reading
    METER.count(ComputeUsage(5, 10.0))
    meter_other_ranks(Two(), began)
    assert METER.reading - began == ComputeUsage(35, 70.0)
    meter_other_ranks(Ranks(), began)
    assert METER.reading - began == ComputeUsage(35, 70.0)
