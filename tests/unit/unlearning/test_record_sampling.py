from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schema.training import Scheduler
from core.unlearning.record_sampling import Cycle, forget_steps
from core.unlearning.schedule import rate_factor, stable_steps, steps_per_epoch


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 4), st.integers(0, 5))
def test_every_epoch_has_every_forget_record_once_in_steps_of_nearly_equal_size(records, per_step, epochs, seed):
    steps = list(forget_steps(records, per_step, epochs, seed))
    assert len(steps) == epochs * steps_per_epoch(records, per_step)
    for epoch in range(epochs):
        epoch_steps = [step for number, step in steps if number == epoch]
        assert sorted(record for step in epoch_steps for record in step) == list(range(records))
        sizes = [len(step) for step in epoch_steps]
        assert max(sizes) <= per_step
        assert max(sizes) - min(sizes) <= 1


def test_every_epoch_and_seed_has_its_own_order():
    (_, first), (_, second) = forget_steps(50, 50, 2, seed=1)
    ((_, other),) = forget_steps(50, 50, 1, seed=2)
    assert len({tuple(first), tuple(second), tuple(other)}) == 3


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.integers(1, 20), st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(0, 5))
def test_a_cycle_draws_every_record_before_any_twice_and_none_twice_in_a_step(records, draws, seed):
    cycle = Cycle(records, seed, 0)
    drawn = [cycle.draw(count) for count in draws]
    for step, count in zip(drawn, draws, strict=True):
        assert len(step) == len(set(step)) == min(count, records)
    flat = [record for step in drawn for record in step]
    for start in range(0, len(flat) - records + 1, records):
        assert sorted(flat[start : start + records]) == list(range(records))


def test_each_round_and_each_set_of_a_cycle_has_its_own_order():
    cycle = Cycle(30, 0, 0)
    assert len({tuple(cycle.draw(30)), tuple(cycle.draw(30)), tuple(Cycle(30, 0, 1).draw(30))}) == 3


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.integers(1, 400), st.sampled_from(get_args(Scheduler)), st.floats(0, 0.5))
def test_every_update_has_a_positive_rate_and_one_has_the_full_rate(steps, scheduler, warmup):
    factors = [rate_factor(step, steps, scheduler, warmup) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1
    peak = factors.index(1)
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_schedules_have_the_factors_computed_by_hand():
    assert [rate_factor(step, 4, "linear", 0) for step in range(4)] == [1, 0.75, 0.5, 0.25]
    assert [rate_factor(step, 4, "linear", 0.5) for step in range(4)] == [0.5, 1, 1, 0.5]
    assert [round(rate_factor(step, 4, "cosine", 0), 6) for step in range(4)] == [1, 0.853553, 0.5, 0.146447]
    assert [rate_factor(step, 3, "constant", 0) for step in range(3)] == [1, 1, 1]
    assert [rate_factor(step, 5, "wsd", 0) for step in range(5)] == pytest.approx([1, 1, 1, 1, 1 / 2])
    assert [rate_factor(step, 6, "wsd", 1 / 6) for step in range(6)] == pytest.approx([1, 1, 1, 1, 1, 1 / 2])


def test_the_rate_begins_to_fall_after_the_stable_steps():
    assert stable_steps(5, "wsd", 0) == range(3)
    assert stable_steps(6, "wsd", 1 / 6) == range(1, 4)
    assert stable_steps(360, "wsd", 0) == range(216)
    assert [rate_factor(step, 360, "wsd", 0) for step in (0, 216)] == [1, 1]
    assert rate_factor(217, 360, "wsd", 0) == pytest.approx(143 / 144)
    assert len(stable_steps(100, "linear", 0.1)) == 0
