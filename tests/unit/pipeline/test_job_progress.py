"""The progress of a job: over all phases, never falling, never finished before the end."""

import time

import pytest

from core.lm.flops import METER, ComputeUsage
from core.pipeline.job_progress import JobProgress
from core.schema.job_spec import ExpectedTokens

EXPECTED = ExpectedTokens(measured=2000, updates=1000)


def pass_tokens(tokens: int) -> None:
    METER.count(ComputeUsage(tokens, 0.0))


def share(progress: JobProgress) -> float:
    fraction = progress.heartbeat().fraction
    assert fraction is not None
    return fraction


def test_each_phase_advances_the_share_by_its_expected_tokens() -> None:
    progress = JobProgress("unlearn", EXPECTED, began=time.monotonic())
    assert share(progress) == 0.0
    progress.start("measuring_before")
    assert share(progress) == pytest.approx(0.02)
    pass_tokens(500)
    assert share(progress) == pytest.approx(0.02 + 0.96 * 500 / 5000)
    progress.start("unlearning")
    for step, wanted in ((0, 1000), (5, 2500), (10, 4000)):
        progress.set_step(step, 10)
        assert share(progress) == pytest.approx(0.02 + 0.96 * wanted / 5000)
    progress.start("saving")
    progress.start("measuring_after")
    assert share(progress) == pytest.approx(0.04 + 0.96 * 4000 / 5000)
    pass_tokens(400)
    progress.start("attacking")
    pass_tokens(100)
    assert share(progress) == pytest.approx(0.04 + 0.96 * 4500 / 5000)
    pass_tokens(10_000)
    assert share(progress) == 0.999


def test_a_wrong_expectation_neither_lowers_the_share_nor_leaves_the_phases_span() -> None:
    progress = JobProgress("unlearn", ExpectedTokens(measured=10, updates=1), began=time.monotonic())
    seen = []
    for phase in ("measuring_before", "unlearning", "saving", "measuring_after"):
        progress.start(phase)
        for _ in range(3):
            pass_tokens(1000)
            seen.append(share(progress))
    assert seen == sorted(seen)
    assert seen[2] < 0.5


def test_a_job_that_only_measures_spends_its_share_on_measuring_and_needs_no_expectation() -> None:
    progress = JobProgress("preview", EXPECTED, began=time.monotonic() - 10)
    progress.start("measuring_before")
    pass_tokens(1000)
    heartbeat = progress.heartbeat()
    assert heartbeat.fraction == pytest.approx(0.02 + 0.98 / 2)
    assert heartbeat.eta_seconds == pytest.approx(10 * 0.49 / 0.51, rel=0.05)
    unknown = JobProgress("unlearn", None, began=time.monotonic())
    unknown.start("unlearning")
    unknown.set_step(1, 2)
    assert 0.3 < share(unknown) < 0.7


def test_a_job_that_measures_counts_its_model_and_the_models_to_compare_with() -> None:
    alone = JobProgress("measure", EXPECTED, began=time.monotonic())
    alone.start("measuring_after")
    assert share(alone) == pytest.approx(0.02)
    pass_tokens(1000)
    assert share(alone) == pytest.approx(0.02 + 0.98 / 2)
    compared = JobProgress("measure", EXPECTED, began=time.monotonic(), compared=2)
    compared.start("measuring_before")
    pass_tokens(2000)
    assert share(compared) == pytest.approx(0.02 + 0.98 / 3)
    compared.start("measuring_before")
    pass_tokens(2000)
    assert share(compared) == pytest.approx(0.02 + 0.98 * 2 / 3)
    compared.start("measuring_after")
    pass_tokens(1000)
    assert share(compared) == pytest.approx(0.02 + 0.98 * 5 / 6)


def test_measuring_the_model_to_unlearn_continues_the_share_of_the_retrained_model() -> None:
    progress = JobProgress("unlearn", ExpectedTokens(measured=2000, updates=1000), began=time.monotonic(), compared=1)
    for phase in ("measuring_before", "loading", "measuring_before"):
        progress.start(phase)
        pass_tokens(1000 if phase == "measuring_before" else 0)
    assert share(progress) == pytest.approx(0.02 + 0.96 * 2000 / 6000)
