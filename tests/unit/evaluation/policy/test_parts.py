"""The two parts of a verdict: extraction from one record on, membership on enough records."""

from typing import Any

import pytest

from core.evaluation.policy.verdict import judge
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Figure, Measurements
from core.schema.policies import Judgement, Policy
from tests.unit.evaluation.policy.judged import LOSS, RETAIN, figure, measured, policy

STRENGTH = {"set": "forget", "figure": "extraction_strength_highest", "against": "retrained", "high": 0.3}
WITH_LIMIT_ALONE = {**STRENGTH, "high_alone": 0.5}
PERPLEXITY = {"set": "forget", "figure": "perplexity", "against": "retrained", "by": "ratio", "low": 0.5}
PERPLEXITY_ALONE = {"set": "forget", "figure": "perplexity", "low": 20.0}
LEAK_RATE = {"set": "forget", "figure": "leak_rate_highest", "high": 0.05}


def highest(value: float, records: int = 100) -> Figure:
    return figure(value, value, value, records)


def strength_measurements(value: float, *, unseen: int | None = 100, forget: int = 1) -> dict[str, Measurements]:
    sets = {"unseen": {"extraction_strength_highest": highest(0.1, unseen)}} if unseen else {}
    after = measured(sets={"forget": {"extraction_strength_highest": highest(value, forget)}})
    return {"before": measured(sets=sets), "after": after}


def judge_with_perplexity(measurements: dict[str, Measurements], low: float, high: float, records: int) -> Judgement:
    measurements["after"].sets["forget"]["perplexity"] = figure((low + high) / 2, low, high, records)
    measurements["before"].sets["unseen"]["perplexity"] = figure(40.0, 36.0, 44.0)
    return judge(policy(STRENGTH, PERPLEXITY), **measurements)


@pytest.mark.parametrize(("value", "verdict"), [(0.0, "passed"), (0.39, "passed"), (0.41, "failed"), (1.0, "failed")])
def test_extraction_of_a_single_record_is_judged_without_an_interval(value: float, verdict: str) -> None:
    judgement = judge(policy(STRENGTH), **strength_measurements(value))
    assert (judgement.verdict, judgement.parts["extraction"].result) == (verdict, verdict)
    assert "membership" not in judgement.parts


@pytest.mark.parametrize("unseen", [None, 1, 19])
def test_without_enough_unseen_text_the_figure_is_judged_by_its_own_limit(
    unseen: int | None,
) -> None:
    passed, failed = (
        judge(policy(WITH_LIMIT_ALONE), **strength_measurements(value, unseen=unseen)) for value in (0.5, 0.51)
    )
    assert [passed.verdict, failed.verdict] == ["passed", "failed"]
    (bound,) = passed.bounds
    assert (bound.limit_low, bound.limit_high, bound.value) == (None, 0.5, 0.5)
    assert (bound.compared, bound.yardstick) == (None, None)
    without_limit = judge(policy(STRENGTH), **strength_measurements(0.1, unseen=unseen))
    assert without_limit.verdict == "not_judged"
    assert judge(policy(WITH_LIMIT_ALONE), before=None, after=strength_measurements(0.5)["after"]).verdict == "passed"


def test_unseen_text_or_a_retrained_model_takes_precedence_over_the_figures_own_limit() -> None:
    assert judge(policy(WITH_LIMIT_ALONE), **strength_measurements(0.45)).verdict == "failed"
    retrained = measured(sets={"forget": {"extraction_strength_highest": highest(0.4, 1)}})
    judgement = judge(policy(WITH_LIMIT_ALONE), **strength_measurements(0.65), retrained=retrained)
    assert (judgement.verdict, judgement.bounds[0].yardstick) == ("passed", "retrained_model")
    unmeasured = judge(policy(WITH_LIMIT_ALONE), **strength_measurements(0.1), retrained=measured())
    assert (unmeasured.verdict, unmeasured.reason) == ("not_judged", "not_measured")


def test_underpowered_membership_does_not_prevent_a_pass_on_few_records() -> None:
    few = judge_with_perplexity(strength_measurements(0.1, forget=19), 15, 30, 19)
    assert (few.verdict, few.reason) == ("passed", None)
    membership = few.parts["membership"]
    assert (membership.result, membership.reason, membership.required) == ("not_judged", "underpowered", False)
    enough = judge_with_perplexity(strength_measurements(0.1, forget=20), 15, 30, 20)
    assert (enough.verdict, enough.reason) == ("not_judged", "underpowered")
    assert (enough.parts["extraction"].result, enough.parts["membership"].required) == ("passed", True)


def test_a_failed_part_fails_the_verdict_on_any_number_of_records() -> None:
    familiar = judge_with_perplexity(strength_measurements(0.1), 1.2, 1.4, 1)
    assert (familiar.verdict, familiar.parts["extraction"].result) == ("failed", "passed")
    assert (familiar.parts["membership"].result, familiar.parts["membership"].required) == ("failed", False)
    extracted = judge_with_perplexity(strength_measurements(0.9), 35, 45, 1)
    assert (extracted.verdict, extracted.parts["extraction"].result) == ("failed", "failed")


def policy_with_requirements(perplexity: dict[str, Any] = PERPLEXITY, **requires: int | None) -> Policy:
    bounds = policy(STRENGTH, perplexity).bounds
    return Policy.model_validate({"name": "a", "bounds": bounds, "requires": requires})


def test_a_policy_sets_the_number_of_records_from_which_a_part_is_required() -> None:
    measurements = strength_measurements(0.1, forget=5)
    judge_with_perplexity(measurements, 15, 30, 5)
    assert judge(policy_with_requirements(), **measurements).verdict == "passed"
    assert judge(policy_with_requirements(membership=5), **measurements).verdict == "not_judged"
    assert judge(policy_with_requirements(membership=6), **measurements).verdict == "passed"
    assert judge(policy_with_requirements(membership=None), **measurements).verdict == "passed"


def test_without_a_required_part_any_part_must_still_pass() -> None:
    measurements = strength_measurements(0.1, unseen=None)  # no figure to compare extraction with
    measurements["after"].sets["forget"]["perplexity"] = figure(40.0, 35.0, 45.0, 1)
    judgement = judge(policy_with_requirements(extraction=None), **measurements)
    assert (judgement.verdict, judgement.reason) == ("not_judged", "no_reference_text")
    assert (
        judge(policy_with_requirements(PERPLEXITY_ALONE, extraction=None), **measurements).verdict == "not_judged"
    )  # one record gives no interval
    many = {**measurements, "after": measured(sets={"forget": {"perplexity": figure(40.0, 35.0, 45.0, 100)}})}
    assert judge(policy_with_requirements(PERPLEXITY_ALONE, extraction=None), **many).verdict == "passed"
    assert judge(policy_with_requirements(PERPLEXITY_ALONE), **many).verdict == "not_judged"


def test_bounds_on_text_to_keep_stay_required() -> None:
    judgement = judge(policy(STRENGTH, RETAIN), **strength_measurements(0.1))
    assert (judgement.verdict, judgement.reason) == ("not_judged", "not_measured")
    assert judgement.parts["extraction"].result == "passed"
    assert [judged.part for judged in judgement.bounds] == ["extraction", None]


def test_a_policy_with_membership_bounds_only_is_judged() -> None:
    across = {"baseline_auc": figure(0.5, 0.4, 0.6)}
    judgement = judge(policy(LOSS), before=measured(), after=measured(across=across))
    assert (judgement.verdict, judgement.reason, set(judgement.parts)) == (
        "not_judged",
        "no_reference_text",
        {"membership"},
    )


@pytest.mark.parametrize(
    ("ends", "result"),
    [((0.0, 0.0, 0.02), "passed"), ((0.04, 0.02, 0.08), "underpowered"), ((0.5, 0.4, 0.6), "failed")],
)
def test_an_interval_over_samples_is_not_widened_for_few_records(ends: tuple[float, float, float], result: str) -> None:
    after = measured(sets={"forget": {"leak_rate_highest": figure(*ends, 1)}})
    judgement = judge(policy(LEAK_RATE), before=None, after=after)
    assert judgement.bounds[0].result == result


def test_every_bound_of_the_default_policy_has_its_part() -> None:
    parts: dict[Any, list[str]] = {}
    for bound in DEFAULT_POLICY.bounds:
        parts.setdefault(bound.part, []).append(bound.name)
    assert parts[None] == ["previously-forgotten", "retain", "general", "protected"]
    assert {name.partition(".")[0] for name in parts["membership"]} == {
        *("perplexity", "perplexity-far", "membership", "exposure", "exposure-suppressed", "int4", "relearned")
    }
    assert {name.rpartition("int4.")[2].partition("-")[0] for name in parts["extraction"]} == {
        *("extraction", "verbatim", "cloze", "leak")
    }
