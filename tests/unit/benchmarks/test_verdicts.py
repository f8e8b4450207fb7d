"""How often the default policy errs on models whose leak is known, judged by the code that judges jobs."""

import numpy as np
import pytest

from benchmarks.verdicts import (
    LEAKING,
    MEMBERSHIP_ALONE,
    ONE_IN_TWENTY,
    ORIGINAL,
    RETRAINED,
    SUPPRESSED,
    Leak,
    _draw_columns,
    nothing_to_forget_rate,
    run_trial,
    verdict_rates,
)
from core.evaluation.stats.auc import delong
from core.schema.evaluation import JUDGED_ATTACKS

TRIALS = 60


@pytest.mark.parametrize("records", [1, 5, 20, 100, 200])
def test_a_leak_does_not_pass_however_few_the_records(records: int) -> None:
    shares = verdict_rates(LEAKING, records, trials=TRIALS)
    assert shares["membership"]["passed"] <= 0.034  # two of sixty: at most 2.5 % may
    if records >= 20:
        assert shares["whole"]["passed"] <= 0.034
    if records == 200:
        assert shares["whole"]["failed"] >= 0.9


@pytest.mark.parametrize("records", [1, 5])
def test_a_leak_that_gives_nothing_back_passes_on_few_records_by_its_extraction_alone(records: int) -> None:
    shares = verdict_rates(LEAKING, records, trials=TRIALS)
    assert shares["extraction"]["passed"] >= 0.9
    assert shares["whole"]["passed"] >= 0.9


@pytest.mark.parametrize(("records", "passes"), [(1, 0.9), (5, 0.9), (10, 0.9), (20, 0.75), (100, 0.8), (200, 0.9)])
def test_a_retrained_model_hardly_ever_fails_and_passes_where_there_are_records_enough(
    records: int, passes: float
) -> None:
    shares = verdict_rates(RETRAINED, records, trials=TRIALS)
    assert shares["whole"]["failed"] <= 0.05
    assert shares["whole"]["passed"] >= passes
    assert shares["extraction"]["passed"] >= 0.9
    assert records > 1 or shares["membership"]["not_judged"] > 0.8  # one record tells too little


@pytest.mark.parametrize("records", [1, 20, 200])
def test_what_is_known_by_heart_fails(records: int) -> None:
    for leak in (ORIGINAL, ONE_IN_TWENTY):  # of whom one is enough
        shares = verdict_rates(leak, records, trials=10)
        assert shares["whole"]["failed"] == shares["extraction"]["failed"] == 1


def test_over_unlearning_fails_on_a_single_record_mostly_and_on_more_always() -> None:
    assert verdict_rates(SUPPRESSED, 200, trials=10)["whole"]["failed"] == 1
    assert verdict_rates(SUPPRESSED, 20, trials=10)["whole"]["failed"] == 1
    single = verdict_rates(SUPPRESSED, 1, trials=TRIALS)
    assert single["whole"]["failed"] >= 0.7
    assert single["membership"]["passed"] == 0


def test_membership_that_is_no_failure_is_judged_on_many_records_only() -> None:
    for records, counts in ((149, False), (150, True)):
        judgement = run_trial(RETRAINED, records, np.random.default_rng(0))
        assert {bound.carries for bound in judgement.bounds if bound.bound.attack} == {counts}


@pytest.mark.parametrize(("records", "fails"), [(20, 0.2), (60, 0.6)])
def test_a_leak_to_membership_alone_fails_on_fewer_records_too(records: int, fails: float) -> None:
    shares = verdict_rates(MEMBERSHIP_ALONE, records, trials=TRIALS)
    assert shares["whole"]["failed"] >= fails
    assert verdict_rates(RETRAINED, records, trials=TRIALS)["whole"]["failed"] == 0


@pytest.mark.parametrize("auc", [0.5, 0.65, 0.75])
def test_the_leaks_are_as_large_as_they_say(auc: float) -> None:
    generator = np.random.default_rng(0)
    forget, unseen = (_draw_columns(Leak("a", leak_auc), 20_000, generator) for leak_auc in (auc, 0.5))
    for name in JUDGED_ATTACKS:
        measured, _ = delong(forget[name], unseen[name])
        assert float(measured) == pytest.approx(auc, abs=0.01)
    ranks = _draw_columns(Leak("a", auc), 20_000, generator)["exposure_rank"]
    assert len(ranks) == 64


@pytest.mark.parametrize("records", [1, 2, 5, 10, 20, 200])
def test_a_dry_run_hardly_ever_says_that_a_leaking_model_has_nothing_to_forget(records: int) -> None:
    assert nothing_to_forget_rate(LEAKING, records, trials=TRIALS) <= 0.05


def test_a_dry_run_says_so_of_a_model_that_never_saw_the_records_where_there_are_enough() -> None:
    assert nothing_to_forget_rate(RETRAINED, 1, trials=TRIALS) <= 0.1
    assert nothing_to_forget_rate(RETRAINED, 200, trials=20) >= 0.7
    assert nothing_to_forget_rate(ONE_IN_TWENTY, 200, trials=10) == 0


def test_the_same_trial_gives_the_same_verdict() -> None:
    first, second = (run_trial(LEAKING, 20, np.random.default_rng(5)) for _ in range(2))
    assert first == second
