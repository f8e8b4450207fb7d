"""Verdicts on figures made by hand: what passes, what fails, and what cannot be told."""

from typing import Any

import pytest

from core.evaluation.verdict import judge, knows
from core.schema.default_policy import DEFAULT
from core.schema.evaluation import Attack, CurvePlace, CutShort, Figure, Measurements, SetName
from core.schema.policies import Judgement, Policy

Ends = tuple[float, float | None, float | None]


def figure(value: float, low: float | None = None, high: float | None = None, records: int = 100) -> Figure:
    return Figure(value=value, low=low, high=high, records=records)


def measured(**parts: Any) -> Measurements:
    return Measurements(seconds=0.0, model_digest="0" * 64, **parts)


def attack(auc: Figure, joint: tuple[float, float] | None = None) -> Attack:
    return Attack(auc=auc, tpr_at_1_fpr=auc, tpr_at_5_fpr=auc, roc=[(0, 0), (1, 1)], joint=joint)


def policy(*bounds: dict[str, Any]) -> Policy:
    return Policy.model_validate({"name": "a", "bounds": [{"name": f"b{n}", **one} for n, one in enumerate(bounds)]})


CLOZE = {"set": "forget", "figure": "cloze", "high": 0.2}
BEFORE = measured(sets={"unseen": {"extraction_strength": figure(0.1, 0.05, 0.15)}})


def of_cloze(*ends: float | None, records: int = 100, **bound: Any) -> Judgement:
    after = measured(sets={"forget": {"cloze": figure(*ends, records=records)}})  # type: ignore[arg-type]
    return judge(policy(CLOZE | bound), before=None, after=after)


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


def test_on_too_few_records_a_bound_is_shown_without_a_part_in_the_verdict() -> None:
    found = of_cloze(0.9, 0.8, 1.0, records=99, judged_from=100)
    assert found.bounds[0].result == "failed"
    assert not found.bounds[0].carries
    assert (found.verdict, found.reason) == ("not_judged", "underpowered")  # nothing about forgetting was judged
    assert of_cloze(0.9, 0.8, 1.0, records=100, judged_from=100).verdict == "failed"


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


STRENGTH = {"set": "forget", "figure": "extraction_strength", "against": "retrained", "high": 0.1}


def test_unseen_text_of_the_original_stands_for_a_retrained_model() -> None:
    after = measured(sets={"forget": {"extraction_strength": figure(0.12, 0.08, 0.16)}})
    (found,) = judge(policy(STRENGTH), before=BEFORE, after=after).bounds
    assert found.value == pytest.approx(0.02)
    assert found.low == pytest.approx(0.02 - (0.04**2 + 0.05**2) ** 0.5)
    assert found.result == "passed"
    assert found.compared == BEFORE.sets["unseen"]["extraction_strength"]


def test_a_retrained_models_own_figure_takes_its_place() -> None:
    after = measured(sets={"forget": {"extraction_strength": figure(0.27, 0.26, 0.28)}})
    reference = measured(sets={"forget": {"extraction_strength": figure(0.2, 0.19, 0.21)}})
    found = judge(policy(STRENGTH), before=BEFORE, after=after, reference=reference)
    assert found.bounds[0].value == pytest.approx(0.07)
    assert found.verdict == "passed"
    assert judge(policy(STRENGTH), before=BEFORE, after=after).verdict == "failed"


UNSEEN = {
    "extraction_strength": figure(0.01, 0.005, 0.02),
    "extraction_strength_highest": figure(0.1, 0.1, 0.1),
    "perplexity": figure(40.0, 37.0, 43.0),
    "exposure_rank": figure(0.5, 0.4, 0.6, 32),
}
HONEST = {
    "extraction_strength": figure(0.03, 0.02, 0.04),
    "extraction_strength_highest": figure(0.2, 0.2, 0.2),
    "perplexity": figure(36.5, 34.4, 38.7),
    "exposure_rank": figure(0.48, 0.38, 0.58, 32),
}
ORIGINAL = {
    "extraction_strength": figure(0.92, 0.9, 0.94),
    "extraction_strength_highest": figure(1.0, 1.0, 1.0),
    "perplexity": figure(1.238, 1.23, 1.24),
    "exposure_rank": figure(0.01, 0.01, 0.011, 32),
}


def supplied(figures: dict[str, Figure], auc: tuple[float, float, float] = (0.49, 0.43, 0.55)) -> Measurements:
    across = {"baseline_auc": figure(0.5, 0.4, 0.6)}
    loss = attack(figure(*auc), joint=auc[1:])
    return measured(sets={"forget": figures}, attacks={"loss": loss}, across=across)


@pytest.mark.parametrize(("auc", "verdict"), [((0.52, 0.45, 0.6), "passed"), ((0.8, 0.7, 0.9), "failed")])
def test_the_attack_by_a_reference_is_held_against_chance_since_it_cannot_attack_itself(
    auc: Ends, verdict: str
) -> None:
    after = measured(attacks={"reference": attack(figure(*auc))}, across={"baseline_auc": figure(0.5, 0.4, 0.6)})
    bound = {"attack": "reference", "against": "retrained", "low": -0.15, "high": 0.15}
    found = judge(policy(bound), before=BEFORE, after=after, reference=measured())
    assert (found.verdict, found.reason) == (verdict, None)
    assert judge(policy(bound), before=BEFORE, after=measured(), reference=measured()).verdict == "not_judged"


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, []),
        ({"extraction_strength": figure(0.16, 0.14, 0.18)}, ["extraction"]),
        ({"extraction_strength": figure(0.16, 0.10, 0.22)}, []),  # it may be less
        ({"extraction_strength_highest": figure(0.7, 0.7, 0.7)}, ["extraction-highest"]),
        ({"perplexity": figure(6.0, 5.0, 7.0)}, ["perplexity"]),
        ({"perplexity": figure(12.0, 11.0, 13.0)}, []),  # text may be easier than what stands for it
        ({"exposure_rank": figure(0.1, 0.05, 0.15, 32)}, ["exposure"]),
        (ORIGINAL, ["extraction", "extraction-highest", "extraction-alone", "perplexity", "exposure"]),
    ],
)
def test_a_reference_that_has_seen_the_forget_set_is_told_from_a_retrained_one(
    changed: dict[str, Figure], shown: list[str]
) -> None:
    assert knows(supplied(HONEST | changed), measured(sets={"unseen": UNSEEN})) == shown


def test_few_unseen_records_do_not_keep_a_reference_from_being_doubted() -> None:
    few = {name: one.model_copy(update={"low": None, "high": None, "records": 1}) for name, one in UNSEEN.items()}
    knowing = HONEST | {"perplexity": figure(6.0, 5.0, 7.0)}
    assert knows(supplied(knowing), measured(sets={"unseen": few})) == ["perplexity"]


def test_of_the_attack_and_without_unseen_text_it_is_told_too() -> None:
    before = measured(sets={"unseen": UNSEEN})
    assert knows(supplied(HONEST, (0.9, 0.85, 0.95)), before) == ["membership"]
    assert knows(supplied(HONEST, (0.39, 0.31, 0.52)), before) == []
    assert knows(supplied({"extraction_strength": ORIGINAL["extraction_strength"]}), None) == ["extraction-alone"]
    assert knows(supplied({"extraction_strength": HONEST["extraction_strength"]}), None) == []


def test_what_stands_against_a_reference_that_knows_the_text_is_not_judged() -> None:
    after = measured(sets={"forget": ORIGINAL}, across={"privleak_loss": figure(0, 0, 0)})
    bounds = [STRENGTH, {"across": "privleak_loss", "low": -10}, {"set": "forget", "figure": "perplexity", "high": 2.0}]
    before = measured(sets={"unseen": UNSEEN})
    found = judge(policy(*bounds), before=before, after=after, reference=supplied(ORIGINAL))
    assert (found.verdict, found.reason) == ("not_judged", "reference_knows_the_text")
    assert [one.result for one in found.bounds] == ["not_judged", "not_judged", "passed"]
    assert all(one.carries for one in found.bounds)
    honest = judge(policy(*bounds), before=before, after=after, reference=supplied(HONEST))
    assert [one.result for one in honest.bounds] == ["failed", "passed", "passed"]


def test_a_limit_on_records_takes_no_bound_out_of_the_verdict() -> None:
    def of(there: int, looked_at: int, **bound: Any) -> bool:
        sets = {"forget": {"cloze": figure(0.9, 0.8, 1.0, looked_at)}}
        after = measured(sets=sets, records={"forget": there})
        return judge(policy({**CLOZE, "judged_from": 100, **bound}), before=None, after=after).bounds[0].carries

    assert of(100, 5)
    assert not of(99, 5)
    assert of(100, 5, figure="verbatim_recall")  # not there at all
    assert not of(99, 5, figure="verbatim_recall")


def test_each_bound_goes_by_the_records_of_what_it_is_about() -> None:
    one = figure(0.5, 0.4, 0.6, 3)
    cut = CutShort(measurement="benchmarks", what="arc", done=3, of=100, reason="records")
    after = measured(
        sets={"forget": {"cloze": one}, "retain": {"accuracy": one}},
        records={"forget": 100, "retain": 99, "protected": 98},
        attacks={"gradnorm": attack(one)},
        across={"model_utility": one, "privleak_loss": one},
        curves={"relearned_forget": [CurvePlace(step=0, figure=one)]},
        benchmarks={"arc": {"acc": one}, "whole": {"acc": one}},
        cut_short=[cut],
    )
    bounds = [
        {"set": "retain", "figure": "accuracy"},
        {"attack": "gradnorm"},
        {"across": "privleak_loss"},
        {"across": "model_utility"},
        {"curve": "relearned_forget", "against": "before"},
        {"benchmark": "arc", "figure": "acc"},
        {"benchmark": "whole", "figure": "acc"},
    ]
    judged = policy(*({**bound, "low": 0.1, "judged_from": 100} for bound in bounds))
    carries = [one.carries for one in judge(judged, before=measured(), after=after).bounds]
    assert carries == [False, True, True, False, True, True, False]


@pytest.mark.parametrize(
    ("done", "reason", "missed"),
    [(64, "records", False), (63, "records", True), (64, "seconds", True), (None, None, False)],
)
def test_what_was_hardly_looked_for_is_missed(done: int | None, reason: Any, missed: bool) -> None:
    cuts = [] if done is None else [CutShort(measurement="cloze", what="forget", done=done, of=200, reason=reason)]
    cuts.append(CutShort(measurement="verbatim", what="forget", done=1, of=200, reason="seconds"))
    after = measured(sets={"forget": {"extraction_strength": figure(0.1, 0.05, 0.15)}}, cut_short=cuts)
    bound = {"set": "forget", "figure": "extraction_strength", "high": 0.2}
    found = judge(policy({**CLOZE, "optional_from": 0}, bound), before=None, after=after)
    assert found.bounds[0].carries is missed
    assert (found.verdict, found.reason) == (("not_judged", "not_measured") if missed else ("passed", None))


def test_one_record_is_judged_by_how_far_unseen_records_lie_apart() -> None:
    def of(value: float) -> Judgement:
        after = measured(sets={"forget": {"extraction_strength": figure(value, records=1)}})
        sharp = measured(sets={"unseen": {"extraction_strength": figure(0.02, 0.018, 0.022)}})
        return judge(policy(STRENGTH), before=sharp, after=after)

    assert of(0.02).bounds[0].low == pytest.approx(-((0.02**2 + 0.002**2) ** 0.5))
    assert [of(0.02).verdict, of(0.115).verdict, of(0.3).verdict] == ["passed", "not_judged", "failed"]


def test_without_unseen_text_there_is_nothing_to_hold_it_against() -> None:
    after = measured(sets={"forget": {"extraction_strength": figure(0.1, 0.05, 0.15)}})
    found = judge(policy(STRENGTH), before=measured(sets=after.sets), after=after)
    assert (found.verdict, found.reason, found.bounds[0].result) == ("not_judged", "no_reference_text", "not_judged")
    of_loss = judge(policy(LOSS, CLOZE), before=measured(), after=after)
    assert of_loss.reason == "no_reference_text"


LOSS = {"attack": "loss", "against": "retrained", "low": -0.1, "high": 0.1}


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
    reference = measured(attacks={"loss": attack(figure(0.7, 0.6, 0.8))})
    assert of_loss(auc, joint, 0.5, reference=reference).verdict == "passed"
    assert of_loss(auc, joint, 0.5).verdict == "failed"


def test_texts_that_differ_by_themselves_say_nothing_of_membership() -> None:
    auc, joint = figure(0.9, 0.85, 0.95), (0.84, 0.96)
    found = of_loss(auc, joint, 0.601)
    assert (found.verdict, found.reason) == ("not_judged", "shifted_reference_text")
    assert found.bounds[0].figure is not None  # it is shown all the same
    assert of_loss(auc, joint, 0.6).verdict == "failed"
    assert of_loss(auc, joint, None).reason == "not_measured"  # nobody looked


RETAIN = {"set": "retain", "figure": "perplexity", "against": "before", "by": "ratio", "high": 1.05}
WAS = measured(sets={"retain": {"perplexity": figure(10, 8, 12)}})


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


def curve(*values: float) -> dict[str, list[CurvePlace]]:
    places = [CurvePlace(step=step, figure=figure(v, v * 0.99, v * 1.01)) for step, v in enumerate(values)]
    return {"relearned_forget": places}


def test_of_a_curve_the_worst_place_counts() -> None:
    bound = {"curve": "relearned_forget", "against": "retrained", "by": "ratio", "low": 0.8, "optional_from": 0}
    good = {"forget": {"cloze": figure(0.1, 0.0, 0.2)}}

    def of(after: dict[str, list[CurvePlace]], reference: Measurements | None) -> Judgement:
        both = measured(sets=good, curves=after)
        return judge(policy(bound, CLOZE), before=measured(), after=both, reference=reference)

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


def well_forgotten(*, unseen: int, retain: int, forget: int = 100) -> dict[str, Measurements]:
    """All that the default policy asks for, as good as can be, on so many records; of a single one no interval."""

    def of(value: float, records: int, spread: float = 0.1) -> Figure:
        half = value * spread / records**0.5
        return figure(value, *((value - half, value + half) if records > 1 else (None, None)), records=records)

    def text(records: int) -> dict[str, Figure]:
        return {
            "perplexity": of(40.0, records),
            "extraction_strength": of(0.02, records),
            "extraction_strength_highest": figure(0.1, 0.1, 0.1, records=records),
            "verbatim_recall": of(0.3, records),
            "cloze": of(0.02, records),
            "exposure_rank": of(0.5, records),
        }

    change = {"perplexity": of(10.0, retain), "perplexity_ratio": of(1.0, retain, 0.02)}
    before = measured(sets={"unseen": text(unseen), "retain": change, "forget": text(forget)})
    after = measured(sets={"forget": text(forget), "retain": change}, variants={"int4": {"forget": text(forget)}})
    return {"before": before, "after": after}


def test_a_yardstick_of_hardly_any_records_tells_nothing() -> None:
    """Where no unseen text is pinned, who asks chooses it."""
    fine = judge(DEFAULT, **well_forgotten(unseen=100, retain=100))
    assert (fine.verdict, {one.result for one in fine.bounds if one.bound.against == "retrained"} - {"not_judged"}) == (
        "passed",
        {"passed"},
    )
    for few in (1, 2, 19):
        found = judge(DEFAULT, **well_forgotten(unseen=few, retain=100))
        assert (found.verdict, found.reason) == ("not_judged", "underpowered")
        beside = [one for one in found.bounds if one.compared is not None and one.bound.against == "retrained"]
        assert len(beside) >= 6
        assert {one.result for one in beside} == {"underpowered"}
        assert {one.compared.records for one in beside if one.compared} == {few}
    assert judge(DEFAULT, **well_forgotten(unseen=20, retain=100)).verdict == "passed"


def test_a_single_record_to_forget_is_judged_beside_good_sets() -> None:
    found = judge(DEFAULT, **well_forgotten(unseen=100, retain=100, forget=1))
    told = {one.bound.name: one.result for one in found.bounds if one.carries}
    assert told["extraction"] == told["verbatim"] == told["retain"] == "passed"


@pytest.mark.parametrize(("records", "verdict"), [(1, "not_judged"), (2, "not_judged"), (10, "passed"), (20, "passed")])
def test_a_few_records_do_not_show_that_the_rest_is_intact(records: int, verdict: str) -> None:
    found = judge(DEFAULT, **well_forgotten(unseen=100, retain=records))
    assert found.verdict == verdict
    (retain,) = [one for one in found.bounds if one.bound.name == "retain"]
    assert retain.result == ("underpowered" if verdict == "not_judged" else "passed")
    assert retain.carries


def test_a_model_that_has_not_changed_has_not_on_a_few_records_either() -> None:
    def of(change: Figure) -> str:
        now = measured(sets={"retain": {"perplexity": figure(10, 8, 12, 3), "perplexity_ratio": change}})
        return judge(policy(RETAIN, CLOZE), before=WAS, after=now).bounds[0].result

    assert of(figure(1.0, 1.0, 1.0, records=2)) == "passed"
    assert of(figure(1.01, 1.01, 1.01, records=2)) == "underpowered"  # the same text twice
    assert of(figure(1.0, records=1)) == "underpowered"


def test_a_few_records_without_a_change_of_each_do_not_either() -> None:
    now = measured(
        sets={"retain": {"accuracy": figure(0.9, 0.89, 0.91, records=3)}, "forget": {"cloze": figure(0, 0, 0)}}
    )
    alone = policy({"set": "retain", "figure": "accuracy", "low": 0.88}, CLOZE)
    assert judge(alone, before=None, after=now).bounds[0].result == "underpowered"
    beside = policy({"set": "retain", "figure": "accuracy", "against": "before", "low": -0.02}, CLOZE)
    was = {"accuracy": figure(0.9, 0.899, 0.901, records=3)}
    assert judge(beside, before=measured(sets={"retain": was}), after=now).bounds[0].result == "underpowered"
    utility = policy({"across": "model_utility", "low": 0.5}, CLOZE)
    after = measured(sets=now.sets, across={"model_utility": figure(0.6, 0.59, 0.61, records=1)})
    assert judge(utility, before=None, after=after).bounds[0].result == "underpowered"


def test_what_counts_as_known_is_measured_on_the_same_records() -> None:
    after = measured(sets={"forget": {"extraction_strength": figure(0.1, 0.08, 0.12)}})
    reference = measured(sets={"forget": {"extraction_strength": figure(0.1)}})
    found = judge(policy(STRENGTH), before=None, after=after, reference=reference).bounds[0]
    assert (found.result, found.low) == ("passed", pytest.approx(-0.02))
    before = measured(sets={"forget": {"extraction_strength": figure(0.5)}})
    less = policy({"set": "forget", "figure": "extraction_strength", "against": "before", "high": -0.3})
    assert judge(less, before=before, after=after).bounds[0].result == "passed"


def with_survivors(name: SetName, records: int) -> Judgement:
    found = well_forgotten(unseen=100, retain=100)
    few = {"perplexity": figure(10.0, 9.0, 11.0, records), "perplexity_ratio": figure(1.0, 0.99, 1.01, records)}
    for one in found.values():
        one.sets[name] = few
    return judge(DEFAULT, **found)


def test_a_few_protected_questions_keep_no_job_from_being_judged_and_it_is_said() -> None:
    few = with_survivors("protected", 4)
    assert few.verdict == "passed"
    assert few.warnings[-1] == ("'protected' has no part in the verdict: it stands on 4 records, and counts from 5 on")
    enough = with_survivors("protected", 5)
    assert (enough.verdict, [one for one in enough.warnings if "protected" in one]) == ("passed", [])
    assert [one.result for one in enough.bounds if one.bound.name == "protected"] == ["passed"]


def test_that_general_ability_was_not_measured_is_said() -> None:
    (said,) = judge(DEFAULT, **well_forgotten(unseen=100, retain=100)).warnings
    assert said == "general ability was not measured, for want of general text: 'general' was not judged"
    assert with_survivors("general", 100).warnings == []
    assert judge(policy(CLOZE), before=None, after=measured()).warnings == []  # a policy that asks nothing of it
