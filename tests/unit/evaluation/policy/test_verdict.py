"""Verdicts on figures made by hand: what passes, what fails, and what cannot be told."""

from typing import Any

import pytest

from core.evaluation.policy.verdict import judge
from core.schema.evaluation import Figure, Measurements, StepFigure
from core.schema.policies import Judgement, Policy
from tests.unit.evaluation.policy.judged import (
    BEFORE,
    CLOZE,
    LOSS,
    RETAIN,
    STRENGTH,
    WAS,
    Ends,
    attack,
    figure,
    measured,
    of_cloze,
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
    found = of_cloze(*ends)
    assert (found.verdict, found.bounds[0].result) == (verdict, result)
    assert found.reason == ("underpowered" if verdict == "not_judged" else None)
    assert found.bounds[0].why == ("underpowered" if result == "underpowered" else None)
    assert (found.bounds[0].value, found.bounds[0].limit_high, found.bounds[0].records) == (ends[0], 0.2, 100)


def test_both_limits_count() -> None:
    assert of_cloze(0.1, 0.05, 0.15, low=0.05).verdict == "passed"
    assert of_cloze(0.1, 0.04, 0.15, low=0.05).verdict == "not_judged"
    assert of_cloze(0.02, 0.0, 0.04, low=0.05).verdict == "failed"


@pytest.mark.parametrize(("ends", "result"), [((0.1, 0.0, 0.2), "passed"), ((0.1, 0.0, 0.9), "underpowered")])
def test_on_too_few_records_a_bound_is_shown_without_a_part_in_the_verdict(ends: Ends, result: str) -> None:
    found = of_cloze(*ends, records=99, judged_from=100)
    assert found.bounds[0].result == result
    assert not found.bounds[0].carries
    assert (found.verdict, found.reason) == ("not_judged", "underpowered")  # nothing about forgetting was judged


@pytest.mark.parametrize("records", [1, 99, 100])
def test_a_bound_that_fails_counts_however_few_the_records(records: int) -> None:
    unseen = {"cloze": figure(0.1, 0.09, 0.11)}
    after = measured(sets={"forget": {"cloze": figure(0.9, 0.8, 1.0, records=records)}})
    found = judge(policy({**CLOZE, "judged_from": 100}), before=measured(sets={"unseen": unseen}), after=after)
    assert (found.verdict, found.bounds[0].carries) == ("failed", True)


def test_a_doubt_on_too_few_records_stands_in_no_verdicts_way() -> None:
    sets = {"forget": {"cloze": figure(0.1, 0.0, 0.9, 99), "extraction_strength": figure(0.1, 0.0, 0.1, 99)}}
    both = policy({**CLOZE, "judged_from": 100}, {**CLOZE, "figure": "extraction_strength"})
    assert judge(both, before=None, after=measured(sets=sets)).verdict == "passed"


def test_one_failure_fails_and_one_doubt_leaves_it_open() -> None:
    sure, unsure, bad = figure(0.1, 0.0, 0.1), figure(0.1, 0.0, 0.9), figure(0.9, 0.8, 0.9)

    def of(cloze: Figure, strength: Figure) -> str:
        after = measured(sets={"forget": {"cloze": cloze, "extraction_strength": strength}})
        both = policy(CLOZE, {**CLOZE, "figure": "extraction_strength"})
        return judge(both, before=None, after=after).verdict

    assert [of(sure, sure), of(sure, unsure), of(unsure, bad), of(bad, sure)] == [
        "passed",
        "not_judged",
        "failed",
        "failed",
    ]


def test_that_the_rest_is_intact_is_no_proof_of_forgetting() -> None:
    after = measured(
        sets={"retain": {"accuracy": figure(0.9, 0.89, 0.91)}, "forget": {"cloze": figure(0.1, 0.0, 0.1, 3)}}
    )
    found = judge(
        policy({"set": "retain", "figure": "accuracy", "low": 0.8}, {**CLOZE, "judged_from": 4}),
        before=None,
        after=after,
    )
    assert (found.verdict, found.reason) == ("not_judged", "underpowered")


def test_what_a_request_added_is_no_proof_either() -> None:
    pinned = policy({**CLOZE, "judged_from": 200})
    wished = pinned.tightened(
        Policy.model_validate({"name": "b", "bounds": [{**CLOZE, "name": "mine", "figure": "probability"}]})
    )
    sets = {"forget": {"cloze": figure(0.1, 0.0, 0.1), "probability": figure(0.1, 0.0, 0.1)}}
    assert judge(wished, before=None, after=measured(sets=sets)).verdict == "not_judged"


def of_loss(auc: Figure, joint: tuple[float, float] | None, baseline: float | None, **parts: Any) -> Judgement:
    across = {} if baseline is None else {"baseline_auc": figure(baseline, 0.4, 0.7)}
    sets = {"forget": {"perplexity": figure(1, 1, 1)}, "unseen": {"perplexity": figure(1, 1, 1)}}
    after = measured(attacks={"loss": attack(auc, joint)}, across=across, sets=sets)
    return judge(policy(LOSS), before=BEFORE, after=after, **parts)


def test_an_attack_goes_by_the_interval_of_all_attacks_together() -> None:
    auc = figure(0.52, 0.42, 0.59)
    assert of_loss(auc, (0.401, 0.599), 0.5).verdict == "passed"
    wide = of_loss(auc, (0.39, 0.65), 0.5)
    assert wide.verdict == "not_judged"
    (bound,) = wide.bounds
    assert (bound.value, bound.low, bound.high) == (pytest.approx(0.02), pytest.approx(-0.11), pytest.approx(0.15))
    assert of_loss(auc, None, 0.5).verdict == "passed"


def test_over_unlearning_is_a_leak_too() -> None:
    assert of_loss(figure(0.02, 0.0, 0.05), (0.0, 0.06), 0.5).verdict == "failed"
    assert of_loss(figure(0.98, 0.95, 1.0), (0.94, 1.0), 0.5).verdict == "failed"


def test_a_retrained_models_auc_moves_the_limits() -> None:
    auc, joint = figure(0.7, 0.65, 0.75), (0.62, 0.78)
    retrained = measured(attacks={"loss": attack(figure(0.7, 0.6, 0.8))})
    assert of_loss(auc, joint, 0.5, retrained=retrained).verdict == "passed"
    assert of_loss(auc, joint, 0.5).verdict == "failed"


def test_texts_that_differ_by_themselves_say_nothing_of_membership() -> None:
    auc, joint = figure(0.9, 0.85, 0.95), (0.84, 0.96)
    found = of_loss(auc, joint, 0.601)
    assert (found.verdict, found.reason) == ("not_judged", "shifted_reference_text")
    assert found.bounds[0].figure is not None  # it is shown all the same
    assert of_loss(auc, joint, 0.6).verdict == "failed"
    assert of_loss(auc, joint, None).reason == "not_measured"  # nobody looked


def test_the_change_of_each_record_is_known_better_than_two_means() -> None:
    now = {"perplexity": figure(10.2, 8.2, 12.2), "perplexity_ratio": figure(1.02, 1.01, 1.03)}
    found = judge(policy(RETAIN, CLOZE), before=WAS, after=measured(sets={"retain": now})).bounds[0]
    assert (found.result, found.value, found.high) == ("passed", 1.02, 1.03)
    del now["perplexity_ratio"]
    found = judge(policy(RETAIN, CLOZE), before=WAS, after=measured(sets={"retain": now})).bounds[0]
    assert (found.result, found.value) == ("underpowered", pytest.approx(1.02))


def test_a_change_of_accuracy_is_a_difference() -> None:
    now = measured(sets={"retain": {"accuracy": figure(0.7, 0.6, 0.8), "accuracy_change": figure(-0.1, -0.12, -0.08)}})
    bound = {"set": "retain", "figure": "accuracy", "against": "before", "low": -0.05}
    was = measured(sets={"retain": {"accuracy": figure(0.8, 0.7, 0.9)}})
    assert judge(policy(bound, CLOZE), before=was, after=now).bounds[0].result == "failed"


@pytest.mark.parametrize(
    ("was", "now", "optional_from", "counts"),
    [
        (True, True, 0, True),
        (False, False, 0, False),
        (False, False, None, True),
        (False, False, 100, False),
        (False, False, 101, True),  # there are 100 records to forget
        (True, False, 0, True),  # it could be measured before
    ],
)
def test_what_could_not_be_measured_is_missed_unless_the_policy_says_otherwise(
    was: bool, now: bool, optional_from: int | None, counts: bool
) -> None:
    good = {"cloze": figure(0.1, 0.0, 0.2)}
    before = WAS if was else measured()
    sets = {"forget": good} | ({"retain": {"perplexity_ratio": figure(1, 1, 1), **WAS.sets["retain"]}} if now else {})
    found = judge(policy(CLOZE, {**RETAIN, "optional_from": optional_from}), before=before, after=measured(sets=sets))
    assert found.bounds[1].carries is counts
    expected = ("not_judged", "not_measured") if counts and not now else ("passed", None)
    assert (found.verdict, found.reason) == expected


def curve(*values: float) -> dict[str, list[StepFigure]]:
    places = [StepFigure(step=step, figure=figure(v, v * 0.99, v * 1.01)) for step, v in enumerate(values)]
    return {"relearned_forget": places}


def test_of_a_curve_the_worst_place_counts() -> None:
    bound = {"curve": "relearned_forget", "against": "retrained", "by": "ratio", "low": 0.8, "optional_from": 0}
    good = {"forget": {"cloze": figure(0.1, 0.0, 0.2)}}

    def of(after: dict[str, list[StepFigure]], retrained: Measurements | None) -> Judgement:
        both = measured(sets=good, curves=after)
        return judge(policy(bound, CLOZE), before=measured(), after=both, retrained=retrained)

    retrained = measured(curves=curve(30, 20, 10, 5), sets=good)
    assert of(curve(30, 20, 10), retrained).verdict == "passed"
    back = of(curve(30, 10, 10), retrained)
    assert (back.verdict, back.bounds[0].value) == ("failed", pytest.approx(0.5))
    nothing = of(curve(30, 10, 10), None)
    assert (nothing.verdict, nothing.bounds[0].carries) == ("passed", False)
    assert of({}, retrained).reason == "not_measured"
    assert of(curve(30), measured(sets=good)).reason == "not_measured"
    assert of({}, measured(sets=good)).verdict == "passed"


def test_a_copy_of_few_bits_is_held_against_unseen_text_too() -> None:
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


def test_no_ratio_is_not_measured() -> None:
    bound = {"set": "forget", "figure": "cloze", "against": "before", "by": "ratio", "high": 2.0}
    zero = measured(sets={"forget": {"cloze": figure(0.0, 0.0, 0.0)}})
    assert judge(policy(bound), before=zero, after=zero).reason == "not_measured"


def test_facts_were_looked_at_only_where_questions_counted() -> None:
    assert of_cloze(0.1, 0.0, 0.2).scope == "verbatim"  # the record's own words, gone on from
    asked = measured(
        sets={"probes": {"probability": figure(0.1, 0.0, 0.1)}, "forget": {"cloze": figure(0.1, 0.0, 0.1)}}
    )
    about = {"set": "probes", "figure": "probability", "high": 0.2}
    assert judge(policy(about), before=None, after=asked).scope == "facts"
    assert judge(policy(CLOZE, {**about, "judged_from": 101}), before=None, after=asked).scope == "verbatim"
    assert judge(policy(CLOZE, about), before=None, after=measured(sets={"forget": asked.sets["forget"]})).scope == (
        "verbatim"
    )
    for asked in ("cloze_fill", "cloze_fill_sampled"):
        after = measured(sets={"forget": {asked: figure(0.1, 0.0, 0.1)}})
        assert judge(policy({**CLOZE, "figure": asked}), before=None, after=after).scope == "facts"
