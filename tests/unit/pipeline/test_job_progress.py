"""How far a job is: all phases counted, never falling, never done before its end."""

import time

import pytest

from core.lm.flops import METER, ComputeUsage
from core.pipeline.job_progress import JobProgress
from core.schema.job_spec import ExpectedTokens

EXPECTED = ExpectedTokens(measured=2000, updates=1000)


def passes(tokens: int) -> None:
    METER.count(ComputeUsage(tokens, 0.0))


def share(progress: JobProgress) -> float:
    fraction = progress.beat().fraction
    assert fraction is not None
    return fraction


def test_each_phase_moves_it_by_what_it_is_expected_to_take() -> None:
    progress = JobProgress("unlearn", EXPECTED, began=time.monotonic())
    assert share(progress) == 0.0
    progress.turn_to("measuring_before")
    assert share(progress) == pytest.approx(0.02)
    passes(500)
    assert share(progress) == pytest.approx(0.02 + 0.96 * 500 / 5000)
    progress.turn_to("unlearning")
    for step, wanted in ((0, 1000), (5, 2500), (10, 4000)):
        progress.trained(step, 10)
        assert share(progress) == pytest.approx(0.02 + 0.96 * wanted / 5000)
    progress.turn_to("saving")
    progress.turn_to("measuring_after")
    assert share(progress) == pytest.approx(0.04 + 0.96 * 4000 / 5000)
    passes(400)
    progress.turn_to("attacking")
    passes(100)
    assert share(progress) == pytest.approx(0.04 + 0.96 * 4500 / 5000)
    passes(10_000)
    assert share(progress) == 0.999


def test_a_wrong_expectation_neither_turns_it_back_nor_leaves_its_phase() -> None:
    progress = JobProgress("unlearn", ExpectedTokens(measured=10, updates=1), began=time.monotonic())
    seen = []
    for phase in ("measuring_before", "unlearning", "saving", "measuring_after"):
        progress.turn_to(phase)
        for _ in range(3):
            passes(1000)
            seen.append(share(progress))
    assert seen == sorted(seen)
    assert seen[2] < 0.5


def test_a_job_that_only_measures_is_measuring_all_the_time_and_needs_no_estimate() -> None:
    progress = JobProgress("preview", EXPECTED, began=time.monotonic() - 10)
    progress.turn_to("measuring_before")
    passes(1000)
    beat = progress.beat()
    assert beat.fraction == pytest.approx(0.02 + 0.98 / 2)
    assert beat.eta_seconds == pytest.approx(10 * 0.49 / 0.51, rel=0.05)
    unknown = JobProgress("unlearn", None, began=time.monotonic())
    unknown.turn_to("unlearning")
    unknown.trained(1, 2)
    assert 0.3 < share(unknown) < 0.7


def test_a_measurement_counts_the_model_that_it_is_of_and_those_that_it_is_compared_with() -> None:
    alone = JobProgress("measure", EXPECTED, began=time.monotonic())
    alone.turn_to("measuring_after")
    assert share(alone) == pytest.approx(0.02)
    passes(1000)
    assert share(alone) == pytest.approx(0.02 + 0.98 / 2)
    compared = JobProgress("measure", EXPECTED, began=time.monotonic(), compared=2)
    compared.turn_to("measuring_before")
    passes(2000)
    assert share(compared) == pytest.approx(0.02 + 0.98 / 3)
    compared.turn_to("measuring_before")
    passes(2000)
    assert share(compared) == pytest.approx(0.02 + 0.98 * 2 / 3)
    compared.turn_to("measuring_after")
    passes(1000)
    assert share(compared) == pytest.approx(0.02 + 0.98 * 5 / 6)


def test_the_model_to_unlearn_is_measured_on_from_where_the_retrained_one_has_got_to() -> None:
    progress = JobProgress("unlearn", ExpectedTokens(measured=2000, updates=1000), began=time.monotonic(), compared=1)
    for phase in ("measuring_before", "loading", "measuring_before"):
        progress.turn_to(phase)
        passes(1000 if phase == "measuring_before" else 0)
    assert share(progress) == pytest.approx(0.02 + 0.96 * 2000 / 6000)
