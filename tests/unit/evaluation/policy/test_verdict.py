"""Verdicts on figures made by hand: passed, failed and not judged."""

from typing import Any

import pytest

from core.evaluation.policy.verdict import judge
from core.schema.evaluation import Figure, Measurements, StepFigure
from core.schema.policies import Judgement, Policy
from core.schema.verdict_parts import Reason, Verdict
from tests.unit.evaluation.policy.judged import (
    BEFORE,
    CLOZE,
    JUDGED_MODEL,
    LOSS,
    MODEL_BEFORE,
    RETAIN,
    RETAIN_BEFORE,
    STRENGTH,
    Ends,
    attack,
    figure,
    judge_cloze,
    measured,
    policy,
)


@pytest.mark.parametrize(
    ("ends", "verdict", "result"),
    [
        ((0.1, 0.0, 0.2), "passed", "passed"),
        ((0.1, 0.0, 0.201), "not_judged", "underpowered"),
        ((0.25, 0.2, 0.3), "not_judged", "underpowered"),
        ((0.25, 0.201, 0.3), "failed", "failed"),
        ((0.1, None, None), "not_judged", "underpowered"),
    ],
)
def test_the_whole_interval_decides(ends: Ends, verdict: str, result: str) -> None:
    judgement = judge_cloze(*ends)
    assert (judgement.verdict, judgement.bounds[0].result) == (verdict, result)
    assert judgement.reason == ("underpowered" if verdict == "not_judged" else None)
    assert judgement.bounds[0].why == ("underpowered" if result == "underpowered" else None)
    assert (judgement.bounds[0].value, judgement.bounds[0].limit_high, judgement.bounds[0].records) == (
        ends[0],
        0.2,
        100,
    )


def test_both_limits_count() -> None:
    assert judge_cloze(0.1, 0.05, 0.15, low=0.05).verdict == "passed"
    assert judge_cloze(0.1, 0.04, 0.15, low=0.05).verdict == "not_judged"
    assert judge_cloze(0.02, 0.0, 0.04, low=0.05).verdict == "failed"


@pytest.mark.parametrize(("ends", "result"), [((0.1, 0.0, 0.2), "passed"), ((0.1, 0.0, 0.9), "underpowered")])
def test_a_bound_on_too_few_records_is_reported_but_does_not_count(ends: Ends, result: str) -> None:
    judgement = judge_cloze(*ends, records=99, judged_from=100)
    assert judgement.bounds[0].result == result
    assert not judgement.bounds[0].carries
    assert (judgement.verdict, judgement.reason) == ("not_judged", "underpowered")  # no bound on forgetting counts


@pytest.mark.parametrize("records", [1, 99, 100])
def test_a_failed_bound_counts_on_any_number_of_records(records: int) -> None:
    unseen = {"cloze": figure(0.1, 0.09, 0.11)}
    after = measured(sets={"forget": {"cloze": figure(0.9, 0.8, 1.0, records=records)}})
    judgement = judge(policy({**CLOZE, "judged_from": 100}), before=measured(sets={"unseen": unseen}), after=after)
    assert (judgement.verdict, judgement.bounds[0].carries) == ("failed", True)


def test_an_underpowered_bound_on_too_few_records_does_not_prevent_a_pass() -> None:
    sets = {"forget": {"cloze": figure(0.1, 0.0, 0.9, 99), "extraction_strength": figure(0.1, 0.0, 0.1, 99)}}
    two_bounds = policy({**CLOZE, "judged_from": 100}, {**CLOZE, "figure": "extraction_strength"})
    assert judge(two_bounds, before=None, after=measured(sets=sets)).verdict == "passed"


def test_a_failed_bound_fails_the_policy_and_an_underpowered_bound_leaves_it_not_judged() -> None:
    sure, unsure, bad = figure(0.1, 0.0, 0.1), figure(0.1, 0.0, 0.9), figure(0.9, 0.8, 0.9)

    def verdict(cloze: Figure, strength: Figure) -> str:
        after = measured(sets={"forget": {"cloze": cloze, "extraction_strength": strength}})
        two_bounds = policy(CLOZE, {**CLOZE, "figure": "extraction_strength"})
        return judge(two_bounds, before=None, after=after).verdict

    assert [verdict(sure, sure), verdict(sure, unsure), verdict(unsure, bad), verdict(bad, sure)] == [
        "passed",
        "not_judged",
        "failed",
        "failed",
    ]


def test_a_passed_bound_on_retain_text_does_not_show_forgetting() -> None:
    after = measured(
        sets={"retain": {"accuracy": figure(0.9, 0.89, 0.91)}, "forget": {"cloze": figure(0.1, 0.0, 0.1, 3)}}
    )
    judgement = judge(
        policy({"set": "retain", "figure": "accuracy", "low": 0.8}, {**CLOZE, "judged_from": 4}),
        before=None,
        after=after,
    )
    assert (judgement.verdict, judgement.reason) == ("not_judged", "underpowered")


def test_a_bound_that_a_request_added_does_not_show_forgetting() -> None:
    pinned = policy({**CLOZE, "judged_from": 200})
    tightened = pinned.tightened(
        Policy.model_validate({"name": "b", "bounds": [{**CLOZE, "name": "mine", "figure": "probability"}]})
    )
    sets = {"forget": {"cloze": figure(0.1, 0.0, 0.1), "probability": figure(0.1, 0.0, 0.1)}}
    assert judge(tightened, before=None, after=measured(sets=sets)).verdict == "not_judged"


def judge_loss_attack(
    auc: Figure, joint: tuple[float, float] | None, baseline: float | None, **parts: Any
) -> Judgement:
    across = {} if baseline is None else {"baseline_auc": figure(baseline, 0.4, 0.7)}
    sets = {"forget": {"perplexity": figure(1, 1, 1)}, "unseen": {"perplexity": figure(1, 1, 1)}}
    after = measured(attacks={"loss": attack(auc, joint)}, across=across, sets=sets)
    return judge(policy(LOSS), before=BEFORE, after=after, **parts)


def test_an_attack_is_judged_by_its_joint_interval() -> None:
    auc = figure(0.52, 0.42, 0.59)
    assert judge_loss_attack(auc, (0.401, 0.599), 0.5).verdict == "passed"
    wide = judge_loss_attack(auc, (0.39, 0.65), 0.5)
    assert wide.verdict == "not_judged"
    (bound,) = wide.bounds
    assert (bound.value, bound.low, bound.high) == (pytest.approx(0.02), pytest.approx(-0.11), pytest.approx(0.15))
    assert judge_loss_attack(auc, None, 0.5).verdict == "passed"


def test_over_unlearning_fails_the_membership_bound() -> None:
    assert judge_loss_attack(figure(0.02, 0.0, 0.05), (0.0, 0.06), 0.5).verdict == "failed"
    assert judge_loss_attack(figure(0.98, 0.95, 1.0), (0.94, 1.0), 0.5).verdict == "failed"


def judge_left_alone(bound: dict[str, Any], value: float, digest: str, **parts: Any) -> tuple[Verdict, Reason | None]:
    seen = figure(value, 0.99 * value, 1.01 * value)
    sets = {
        name: {"perplexity": figure(20, 19, 21), "exposure_rank": figure(0.5, 0.45, 0.55)}
        for name in ("forget", "unseen")
    }
    if "figure" in bound:
        sets["forget"] = sets["forget"] | {bound["figure"]: seen}
    attacks, across = {"loss": attack(seen)}, {"baseline_auc": figure(0.5, 0.45, 0.55)}
    before, after = (measured(each, sets=sets, attacks=attacks, across=across) for each in (MODEL_BEFORE, digest))
    judgement = judge(policy(bound), before=before, after=after, **parts)
    return judgement.verdict, judgement.reason


@pytest.mark.parametrize(
    ("bound", "less_known", "known"),
    [
        (
            {"set": "forget", "figure": "perplexity", "against": "retrained", "by": "ratio", "low": 0.5, "high": 2},
            90,
            2,
        ),
        ({"set": "forget", "figure": "exposure_rank", "low": 0.3, "high": 0.8}, 0.95, 0.1),
        (LOSS, 0.05, 0.95),
    ],
)
def test_a_model_that_was_left_as_it_is_has_suppressed_nothing(
    bound: dict[str, Any], less_known: float, known: float
) -> None:
    assert judge_left_alone(bound, less_known, MODEL_BEFORE) == ("not_judged", "shifted_reference_text")
    assert judge_left_alone(bound, less_known, JUDGED_MODEL) == ("failed", None)
    assert judge_left_alone(bound, known, MODEL_BEFORE) == ("failed", None)


@pytest.mark.parametrize(("records", "verdict"), [(19, "passed"), (20, "not_judged")])
def test_suppression_that_a_job_left_as_it_is_counts_on_few_records_too(records: int, verdict: str) -> None:
    """Membership is required from 20 records on, the bound is judged from 100 on."""
    strength = figure(0.0, 0.0, 0.0, records)
    sets = {
        "forget": {"perplexity": figure(90, 89, 91, records), "extraction_strength": strength},
        "unseen": {"perplexity": figure(20, 19, 21), "extraction_strength": figure(0.0, 0.0, 0.0)},
    }
    ratio = {
        "set": "forget",
        "figure": "perplexity",
        "against": "retrained",
        "by": "ratio",
        "high": 2,
        "judged_from": 100,
    }
    before = after = measured(sets=sets)
    judgement = judge(policy({**STRENGTH, "judged_from": 1}, ratio), before=before, after=after)
    assert (judgement.verdict, judgement.bounds[1].carries) == (verdict, True)
    assert judgement.parts["membership"].reason == "shifted_reference_text"


def test_a_retrained_model_shows_what_is_suppressed_in_a_model_that_was_left_as_it_is() -> None:
    bound = {"set": "forget", "figure": "perplexity", "against": "retrained", "by": "ratio", "high": 2}
    retrained = measured(sets={"forget": {"perplexity": figure(20, 19, 21)}})
    assert judge_left_alone(bound, 90, MODEL_BEFORE, retrained=retrained) == ("failed", None)


def test_a_retrained_models_auc_moves_the_limits() -> None:
    auc, joint = figure(0.7, 0.65, 0.75), (0.62, 0.78)
    retrained = measured(attacks={"loss": attack(figure(0.7, 0.6, 0.8))})
    assert judge_loss_attack(auc, joint, 0.5, retrained=retrained).verdict == "passed"
    assert judge_loss_attack(auc, joint, 0.5).verdict == "failed"


def test_membership_is_not_judged_if_the_texts_differ_without_a_model() -> None:
    auc, joint = figure(0.9, 0.85, 0.95), (0.84, 0.96)
    judgement = judge_loss_attack(auc, joint, 0.601)
    assert (judgement.verdict, judgement.reason) == ("not_judged", "shifted_reference_text")
    assert judgement.bounds[0].figure is not None  # it is reported nevertheless
    assert judge_loss_attack(auc, joint, 0.6).verdict == "failed"
    assert judge_loss_attack(auc, joint, None).reason == "not_measured"  # without the baseline


def test_a_paired_change_has_a_narrower_interval_than_the_ratio_of_two_means() -> None:
    figures = {"perplexity": figure(10.2, 8.2, 12.2), "perplexity_ratio": figure(1.02, 1.01, 1.03)}
    judged_bound = judge(policy(RETAIN, CLOZE), before=RETAIN_BEFORE, after=measured(sets={"retain": figures})).bounds[
        0
    ]
    assert (judged_bound.result, judged_bound.value, judged_bound.high) == ("passed", 1.02, 1.03)
    del figures["perplexity_ratio"]
    judged_bound = judge(policy(RETAIN, CLOZE), before=RETAIN_BEFORE, after=measured(sets={"retain": figures})).bounds[
        0
    ]
    assert (judged_bound.result, judged_bound.value) == ("underpowered", pytest.approx(1.02))


def test_a_change_of_accuracy_is_a_difference() -> None:
    after = measured(
        sets={"retain": {"accuracy": figure(0.7, 0.6, 0.8), "accuracy_change": figure(-0.1, -0.12, -0.08)}}
    )
    bound = {"set": "retain", "figure": "accuracy", "against": "before", "low": -0.05}
    before = measured(sets={"retain": {"accuracy": figure(0.8, 0.7, 0.9)}})
    assert judge(policy(bound, CLOZE), before=before, after=after).bounds[0].result == "failed"


@pytest.mark.parametrize(
    ("measured_before", "measured_after", "optional_from", "counts"),
    [
        (True, True, 0, True),
        (False, False, 0, False),
        (False, False, None, True),
        (False, False, 100, False),
        (False, False, 101, True),  # there are 100 records to forget
        (True, False, 0, True),  # it could be measured before
    ],
)
def test_a_missing_figure_counts_unless_the_policy_makes_it_optional(
    measured_before: bool, measured_after: bool, optional_from: int | None, counts: bool
) -> None:
    before = RETAIN_BEFORE if measured_before else measured()
    sets = {"forget": {"cloze": figure(0.1, 0.0, 0.2)}}
    if measured_after:
        sets["retain"] = {"perplexity_ratio": figure(1, 1, 1), **RETAIN_BEFORE.sets["retain"]}
    judgement = judge(
        policy(CLOZE, {**RETAIN, "optional_from": optional_from}), before=before, after=measured(sets=sets)
    )
    assert judgement.bounds[1].carries is counts
    expected = ("not_judged", "not_measured") if counts and not measured_after else ("passed", None)
    assert (judgement.verdict, judgement.reason) == expected


def curve(*values: float) -> dict[str, list[StepFigure]]:
    points = [StepFigure(step=step, figure=figure(v, v * 0.99, v * 1.01)) for step, v in enumerate(values)]
    return {"relearned_forget": points}


def test_the_worst_point_of_a_curve_counts() -> None:
    bound = {"curve": "relearned_forget", "against": "retrained", "by": "ratio", "low": 0.8, "optional_from": 0}
    good = {"forget": {"cloze": figure(0.1, 0.0, 0.2)}}

    def judge_curves(curves: dict[str, list[StepFigure]], retrained: Measurements | None) -> Judgement:
        after = measured(sets=good, curves=curves)
        return judge(policy(bound, CLOZE), before=measured(), after=after, retrained=retrained)

    retrained = measured(curves=curve(30, 20, 10, 5), sets=good)
    assert judge_curves(curve(30, 20, 10), retrained).verdict == "passed"
    relearned = judge_curves(curve(30, 10, 10), retrained)
    assert (relearned.verdict, relearned.bounds[0].value) == ("failed", pytest.approx(0.5))
    without_retrained = judge_curves(curve(30, 10, 10), None)
    assert (without_retrained.verdict, without_retrained.bounds[0].carries) == ("passed", False)
    assert judge_curves({}, retrained).reason == "not_measured"
    assert judge_curves(curve(30), measured(sets=good)).reason == "not_measured"
    assert judge_curves({}, measured(sets=good)).verdict == "passed"


def test_a_quantised_copy_is_compared_with_unseen_text() -> None:
    bound = {**STRENGTH, "variant": "int4"}
    after = measured(
        sets={"forget": {"extraction_strength": figure(0.1, 0.1, 0.1)}},
        variants={"int4": {"forget": {"extraction_strength": figure(0.6, 0.55, 0.65)}}},
    )
    assert judge(policy(bound), before=BEFORE, after=after).verdict == "failed"
    known = measured(sets=BEFORE.sets, variants={"int4": {"unseen": {"extraction_strength": figure(0.55, 0.55, 0.55)}}})
    assert judge(policy(bound), before=known, after=after).verdict == "passed"


def test_benchmarks_and_figures_across_sets_can_be_bounded() -> None:
    good = {"forget": {"cloze": figure(0.1, 0.0, 0.2)}}
    after = measured(
        sets=good,
        across={"model_utility": figure(0.5, 0.48, 0.52)},
        benchmarks={"arc": {"acc,none": figure(0.6, 0.58, 0.62)}},
    )
    bounds = [
        {"across": "model_utility", "low": 0.45},
        {"benchmark": "arc", "figure": "acc,none", "against": "before", "low": -0.1},
        CLOZE,
    ]
    before = measured(benchmarks={"arc": {"acc,none": figure(0.6, 0.58, 0.62)}})
    assert judge(policy(*bounds), before=before, after=after).verdict == "passed"
    assert judge(policy(*bounds), before=measured(), after=after).reason == "not_measured"


def test_a_ratio_with_zero_is_not_measured() -> None:
    bound = {"set": "forget", "figure": "cloze", "against": "before", "by": "ratio", "high": 2.0}
    zero = measured(sets={"forget": {"cloze": figure(0.0, 0.0, 0.0)}})
    assert judge(policy(bound), before=zero, after=zero).reason == "not_measured"


def test_the_scope_is_facts_only_if_a_bound_on_questions_counts() -> None:
    assert judge_cloze(0.1, 0.0, 0.2).scope == "verbatim"  # it continues the record's own words
    asked = measured(
        sets={"probes": {"probability": figure(0.1, 0.0, 0.1)}, "forget": {"cloze": figure(0.1, 0.0, 0.1)}}
    )
    probes = {"set": "probes", "figure": "probability", "high": 0.2}
    assert judge(policy(probes), before=None, after=asked).scope == "facts"
    assert judge(policy(CLOZE, {**probes, "judged_from": 101}), before=None, after=asked).scope == "verbatim"
    assert judge(policy(CLOZE, probes), before=None, after=measured(sets={"forget": asked.sets["forget"]})).scope == (
        "verbatim"
    )
    for question in ("cloze_fill", "cloze_fill_sampled"):
        after = measured(sets={"forget": {question: figure(0.1, 0.0, 0.1)}})
        assert judge(policy({**CLOZE, "figure": question}), before=None, after=after).scope == "facts"
