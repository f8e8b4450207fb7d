"""The two parts of a verdict: extraction from one record on, membership where there are records enough."""

from typing import Any

import pytest

from core.evaluation.policy.verdict import judge
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Figure, Measurements
from core.schema.policies import Judgement, Policy
from tests.unit.evaluation.policy.judged import LOSS, RETAIN, figure, measured, policy

STRENGTH = {"set": "forget", "figure": "extraction_strength_highest", "against": "retrained", "high": 0.3}
ALONE = {**STRENGTH, "high_alone": 0.5}
PERPLEXITY = {"set": "forget", "figure": "perplexity", "against": "retrained", "by": "ratio", "low": 0.5}
OF_ITSELF = {"set": "forget", "figure": "perplexity", "low": 20.0}
LEAK_RATE = {"set": "forget", "figure": "leak_rate_highest", "high": 0.05}


def highest(value: float, records: int = 100) -> Figure:
    return figure(value, value, value, records)


def beside_unseen(value: float, *, unseen: int | None = 100, forget: int = 1) -> dict[str, Measurements]:
    sets = {"unseen": {"extraction_strength_highest": highest(0.1, unseen)}} if unseen else {}
    after = measured(sets={"forget": {"extraction_strength_highest": highest(value, forget)}})
    return {"before": measured(sets=sets), "after": after}


def with_perplexity(found: dict[str, Measurements], low: float, high: float, records: int) -> Judgement:
    found["after"].sets["forget"]["perplexity"] = figure((low + high) / 2, low, high, records)
    found["before"].sets["unseen"]["perplexity"] = figure(40.0, 36.0, 44.0)
    return judge(policy(STRENGTH, PERPLEXITY), **found)


@pytest.mark.parametrize(("value", "verdict"), [(0.0, "passed"), (0.39, "passed"), (0.41, "failed"), (1.0, "failed")])
def test_how_much_of_a_single_record_comes_out_is_judged_without_an_interval(value: float, verdict: str) -> None:
    found = judge(policy(STRENGTH), **beside_unseen(value))
    assert (found.verdict, found.parts["extraction"].result) == (verdict, verdict)
    assert "membership" not in found.parts


@pytest.mark.parametrize("unseen", [None, 1, 19])
def test_without_enough_unseen_text_the_figure_itself_is_judged(
    unseen: int | None,
) -> None:
    passed, failed = (judge(policy(ALONE), **beside_unseen(value, unseen=unseen)) for value in (0.5, 0.51))
    assert [passed.verdict, failed.verdict] == ["passed", "failed"]
    (bound,) = passed.bounds
    assert (bound.limit_low, bound.limit_high, bound.value) == (None, 0.5, 0.5)
    assert (bound.compared, bound.yardstick) == (None, None)
    without_limit = judge(policy(STRENGTH), **beside_unseen(0.1, unseen=unseen))
    assert without_limit.verdict == "not_judged"
    assert judge(policy(ALONE), before=None, after=beside_unseen(0.5)["after"]).verdict == "passed"


def test_enough_unseen_text_and_a_retrained_model_come_before_the_limit_of_the_figure_itself() -> None:
    assert judge(policy(ALONE), **beside_unseen(0.45)).verdict == "failed"
    retrained = measured(sets={"forget": {"extraction_strength_highest": highest(0.4, 1)}})
    found = judge(policy(ALONE), **beside_unseen(0.65), retrained=retrained)
    assert (found.verdict, found.bounds[0].yardstick) == ("passed", "retrained_model")
    nothing = judge(policy(ALONE), **beside_unseen(0.1), retrained=measured())
    assert (nothing.verdict, nothing.reason) == ("not_judged", "not_measured")


def test_a_doubt_about_membership_stands_in_no_way_on_few_records() -> None:
    few = with_perplexity(beside_unseen(0.1, forget=19), 15, 30, 19)
    assert (few.verdict, few.reason) == ("passed", None)
    membership = few.parts["membership"]
    assert (membership.result, membership.reason, membership.required) == ("not_judged", "underpowered", False)
    enough = with_perplexity(beside_unseen(0.1, forget=20), 15, 30, 20)
    assert (enough.verdict, enough.reason) == ("not_judged", "underpowered")
    assert (enough.parts["extraction"].result, enough.parts["membership"].required) == ("passed", True)


def test_a_failure_of_either_part_fails_the_whole_on_any_number_of_records() -> None:
    known = with_perplexity(beside_unseen(0.1), 1.2, 1.4, 1)
    assert (known.verdict, known.parts["extraction"].result) == ("failed", "passed")
    assert (known.parts["membership"].result, known.parts["membership"].required) == ("failed", False)
    given_back = with_perplexity(beside_unseen(0.9), 35, 45, 1)
    assert (given_back.verdict, given_back.parts["extraction"].result) == ("failed", "failed")


def required(perplexity: dict[str, Any] = PERPLEXITY, **requires: int | None) -> Policy:
    bounds = policy(STRENGTH, perplexity).bounds
    return Policy.model_validate({"name": "a", "bounds": bounds, "requires": requires})


def test_a_policy_says_from_how_many_records_on_a_part_is_required() -> None:
    found = beside_unseen(0.1, forget=5)
    with_perplexity(found, 15, 30, 5)
    assert judge(required(), **found).verdict == "passed"
    assert judge(required(membership=5), **found).verdict == "not_judged"
    assert judge(required(membership=6), **found).verdict == "passed"
    assert judge(required(membership=None), **found).verdict == "passed"


def test_without_a_required_part_one_must_be_passed_all_the_same() -> None:
    found = beside_unseen(0.1, unseen=None)  # nothing to hold extraction against
    found["after"].sets["forget"]["perplexity"] = figure(40.0, 35.0, 45.0, 1)
    judged = judge(required(extraction=None), **found)
    assert (judged.verdict, judged.reason) == ("not_judged", "no_reference_text")
    assert judge(required(OF_ITSELF, extraction=None), **found).verdict == "not_judged"  # one record tells nothing
    many = {**found, "after": measured(sets={"forget": {"perplexity": figure(40.0, 35.0, 45.0, 100)}})}
    assert judge(required(OF_ITSELF, extraction=None), **many).verdict == "passed"
    assert judge(required(OF_ITSELF), **many).verdict == "not_judged"


def test_what_must_survive_stays_required() -> None:
    found = judge(policy(STRENGTH, RETAIN), **beside_unseen(0.1))
    assert (found.verdict, found.reason) == ("not_judged", "not_measured")
    assert found.parts["extraction"].result == "passed"
    assert [one.part for one in found.bounds] == ["extraction", None]


def test_a_policy_of_membership_alone_is_judged_as_a_whole() -> None:
    across = {"baseline_auc": figure(0.5, 0.4, 0.6)}
    found = judge(policy(LOSS), before=measured(), after=measured(across=across))
    assert (found.verdict, found.reason, set(found.parts)) == ("not_judged", "no_reference_text", {"membership"})


@pytest.mark.parametrize(
    ("ends", "result"),
    [((0.0, 0.0, 0.02), "passed"), ((0.04, 0.02, 0.08), "underpowered"), ((0.5, 0.4, 0.6), "failed")],
)
def test_an_interval_over_samples_is_not_widened_for_few_records(ends: tuple[float, float, float], result: str) -> None:
    after = measured(sets={"forget": {"leak_rate_highest": figure(*ends, 1)}})
    found = judge(policy(LEAK_RATE), before=None, after=after)
    assert found.bounds[0].result == result


def test_every_bound_of_the_default_policy_has_its_part() -> None:
    parts: dict[Any, list[str]] = {}
    for bound in DEFAULT_POLICY.bounds:
        parts.setdefault(bound.part, []).append(bound.name)
    assert parts[None] == ["retain", "general", "protected"]
    assert {name.partition(".")[0] for name in parts["membership"]} == {
        *("perplexity", "perplexity-far", "membership", "exposure", "exposure-suppressed", "int4", "relearned")
    }
    assert {name.rpartition("int4.")[2].partition("-")[0] for name in parts["extraction"]} == {
        *("extraction", "verbatim", "cloze", "leak")
    }
