"""The yardsticks of a figure: unseen text, a retrained model, and the doubts about each."""

from typing import Any

import pytest

from api.cli.policy_text import comparison_text
from core.evaluation.policy.verdict import judge, signs_of_memorization
from core.schema.evaluation import CutShort, Figure, Measurements, StepFigure
from core.schema.policies import Judgement
from tests.unit.evaluation.policy.judged import BEFORE, CLOZE, LOSS, STRENGTH, Ends, attack, figure, measured, policy


def test_the_originals_unseen_text_stands_for_a_retrained_model() -> None:
    after = measured(sets={"forget": {"extraction_strength": figure(0.12, 0.08, 0.16)}})
    (judged_bound,) = judge(policy(STRENGTH), before=BEFORE, after=after).bounds
    assert judged_bound.value == pytest.approx(0.02)
    assert judged_bound.low == pytest.approx(0.02 - (0.04**2 + 0.05**2) ** 0.5)
    assert judged_bound.result == "passed"
    assert judged_bound.compared == BEFORE.sets["unseen"]["extraction_strength"]
    assert judged_bound.yardstick == "unseen_text"


def test_a_retrained_models_own_figure_replaces_unseen_text() -> None:
    after = measured(sets={"forget": {"extraction_strength": figure(0.27, 0.26, 0.28)}})
    retrained = measured(sets={"forget": {"extraction_strength": figure(0.2, 0.19, 0.21)}})
    judgement = judge(policy(STRENGTH), before=BEFORE, after=after, retrained=retrained)
    assert judgement.bounds[0].value == pytest.approx(0.07)
    assert judgement.bounds[0].yardstick == "retrained_model"
    assert judgement.verdict == "passed"
    assert judge(policy(STRENGTH), before=BEFORE, after=after).verdict == "failed"


def test_a_bound_names_the_yardstick_that_it_was_compared_with() -> None:
    across = {"baseline_auc": figure(0.5, 0.4, 0.6)}
    sets = {"forget": {"extraction_strength": figure(0.03, 0.02, 0.04)}}
    after = measured(sets=sets, attacks={"loss": attack(figure(0.5, 0.45, 0.55), joint=(0.45, 0.55))}, across=across)
    absolute = {**STRENGTH, "name": "alone", "against": None}
    bounds = judge(policy(STRENGTH, LOSS, absolute), before=BEFORE, after=after).bounds
    assert [judged.yardstick for judged in bounds] == ["unseen_text", "chance", None]
    for judged in bounds:
        text = comparison_text(judged.bound.model_dump(mode="json"), judged.yardstick)
        assert "retrained" not in text
    bounds = judge(policy(STRENGTH, LOSS, absolute), before=BEFORE, after=after, retrained=after).bounds
    assert [judged.yardstick for judged in bounds] == ["retrained_model", "retrained_model", None]


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
def test_the_reference_attack_is_compared_with_chance_since_the_retrained_model_cannot_attack_itself(
    auc: Ends, verdict: str
) -> None:
    after = measured(attacks={"reference": attack(figure(*auc))}, across={"baseline_auc": figure(0.5, 0.4, 0.6)})
    bound = {"attack": "reference", "against": "retrained", "low": -0.15, "high": 0.15}
    judgement = judge(policy(bound), before=BEFORE, after=after, retrained=measured())
    assert (judgement.verdict, judgement.reason) == (verdict, None)
    assert judge(policy(bound), before=BEFORE, after=measured(), retrained=measured()).verdict == "not_judged"


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, []),
        ({"extraction_strength": figure(0.16, 0.14, 0.18)}, ["extraction"]),
        ({"extraction_strength": figure(0.16, 0.10, 0.22)}, []),  # the difference may be under the limit
        ({"extraction_strength_highest": figure(0.7, 0.7, 0.7)}, ["extraction-highest"]),
        ({"perplexity": figure(6.0, 5.0, 7.0)}, ["perplexity"]),
        ({"perplexity": figure(12.0, 11.0, 13.0)}, []),  # text may be easier than what stands for it
        ({"exposure_rank": figure(0.1, 0.05, 0.15, 32)}, ["exposure"]),
        (ORIGINAL, ["extraction", "extraction-highest", "extraction-alone", "perplexity", "exposure"]),
    ],
)
def test_a_supplied_model_that_has_seen_the_forget_set_is_detected(
    changed: dict[str, Figure], shown: list[str]
) -> None:
    assert signs_of_memorization(supplied(HONEST | changed), measured(sets={"unseen": UNSEEN})) == shown


def test_a_supplied_model_is_doubted_on_few_unseen_records() -> None:
    few = {name: figure.model_copy(update={"low": None, "high": None, "records": 1}) for name, figure in UNSEEN.items()}
    knowing = HONEST | {"perplexity": figure(6.0, 5.0, 7.0)}
    assert signs_of_memorization(supplied(knowing), measured(sets={"unseen": few})) == ["perplexity"]


def test_an_attack_or_extraction_without_unseen_text_detects_a_supplied_model() -> None:
    before = measured(sets={"unseen": UNSEEN})
    assert signs_of_memorization(supplied(HONEST, (0.9, 0.85, 0.95)), before) == ["membership"]
    assert signs_of_memorization(supplied(HONEST, (0.39, 0.31, 0.52)), before) == []
    assert signs_of_memorization(supplied({"extraction_strength": ORIGINAL["extraction_strength"]}), None) == [
        "extraction-alone"
    ]
    assert signs_of_memorization(supplied({"extraction_strength": HONEST["extraction_strength"]}), None) == []


def test_a_bound_against_a_supplied_model_that_knows_the_text_is_not_judged() -> None:
    after = measured(sets={"forget": ORIGINAL}, across={"privleak_loss": figure(0, 0, 0)})
    bounds = [STRENGTH, {"across": "privleak_loss", "low": -10}, {"set": "forget", "figure": "perplexity", "high": 2.0}]
    before = measured(sets={"unseen": UNSEEN})
    judgement = judge(policy(*bounds), before=before, after=after, retrained=supplied(ORIGINAL))
    assert (judgement.verdict, judgement.reason) == ("not_judged", "reference_knows_the_text")
    assert [judged.result for judged in judgement.bounds] == ["not_judged", "not_judged", "passed"]
    assert all(judged.carries for judged in judgement.bounds)
    honest = judge(policy(*bounds), before=before, after=after, retrained=supplied(HONEST))
    assert [judged.result for judged in honest.bounds] == ["failed", "passed", "passed"]


def test_relearning_like_a_model_that_knows_the_text_is_not_judged() -> None:
    score = figure(0.9, 0.85, 0.95)
    across = {name: score for name in ("relearned_symmetric", "relearned_unrelated_symmetric")}
    across["quantized_symmetric_probability_int4"] = score  # which compares the model with itself
    after = measured(sets={"forget": ORIGINAL}, across=across)
    bounds = policy(
        {"set": "forget", "figure": "perplexity", "high": 2.0}, *({"across": name, "low": 0.8} for name in across)
    )
    before = measured(sets={"unseen": UNSEEN})
    for supplied_figures, expected in ((ORIGINAL, "not_judged"), (HONEST, "passed")):
        judgement = judge(bounds, before=before, after=after, retrained=supplied(supplied_figures))
        assert [judged.result for judged in judgement.bounds] == ["passed", expected, expected, "passed"]


def test_a_limit_on_measured_records_does_not_exclude_a_bound() -> None:
    def counts(records: int, measured_records: int, **bound: Any) -> bool:
        sets = {"forget": {"cloze": figure(0.2, 0.1, 0.3, measured_records)}}
        after = measured(sets=sets, records={"forget": records})
        return judge(policy({**CLOZE, "judged_from": 100, **bound}), before=None, after=after).bounds[0].carries

    assert counts(100, 5)
    assert not counts(99, 5)
    assert counts(100, 5, figure="verbatim_recall")  # the figure is missing
    assert not counts(99, 5, figure="verbatim_recall")


def test_each_bound_counts_by_the_records_of_its_own_set() -> None:
    three_records = figure(0.5, 0.4, 0.6, 3)
    cut = CutShort(measurement="benchmarks", what="arc", done=3, of=100, reason="records")
    after = measured(
        sets={"forget": {"cloze": three_records}, "retain": {"accuracy": three_records}},
        records={"forget": 100, "retain": 99, "protected": 98},
        attacks={"gradnorm": attack(three_records)},
        across={"model_utility": three_records, "privleak_loss": three_records},
        curves={"relearned_forget": [StepFigure(step=0, figure=three_records)]},
        benchmarks={"arc": {"acc": three_records}, "whole": {"acc": three_records}},
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
    limited = policy(*({**bound, "low": 0.1, "judged_from": 100} for bound in bounds))
    carries = [judged.carries for judged in judge(limited, before=measured(), after=after).bounds]
    assert carries == [False, True, True, False, True, True, False]


@pytest.mark.parametrize(
    ("done", "reason", "missed"),
    [(64, "records", False), (63, "records", True), (64, "seconds", True), (None, None, False)],
)
def test_a_missing_figure_counts_if_its_measurement_was_cut_short(done: int | None, reason: Any, missed: bool) -> None:
    cuts = [] if done is None else [CutShort(measurement="cloze", what="forget", done=done, of=200, reason=reason)]
    cuts.append(CutShort(measurement="verbatim", what="forget", done=1, of=200, reason="seconds"))
    after = measured(sets={"forget": {"extraction_strength": figure(0.1, 0.05, 0.15)}}, cut_short=cuts)
    bound = {"set": "forget", "figure": "extraction_strength", "high": 0.2}
    judgement = judge(policy({**CLOZE, "optional_from": 0}, bound), before=None, after=after)
    assert judgement.bounds[0].carries is missed
    assert (judgement.verdict, judgement.reason) == (("not_judged", "not_measured") if missed else ("passed", None))


def test_a_single_record_is_judged_by_the_spread_of_unseen_records() -> None:
    def judge_strength(value: float) -> Judgement:
        after = measured(sets={"forget": {"extraction_strength": figure(value, records=1)}})
        before = measured(sets={"unseen": {"extraction_strength": figure(0.02, 0.018, 0.022)}})
        return judge(policy(STRENGTH), before=before, after=after)

    assert judge_strength(0.02).bounds[0].low == pytest.approx(-((0.02**2 + 0.002**2) ** 0.5))
    assert [judge_strength(value).verdict for value in (0.02, 0.115, 0.3)] == ["passed", "not_judged", "failed"]


def test_without_unseen_text_or_a_retrained_model_a_comparison_is_not_judged() -> None:
    after = measured(sets={"forget": {"extraction_strength": figure(0.1, 0.05, 0.15)}})
    judgement = judge(policy(STRENGTH), before=measured(sets=after.sets), after=after)
    assert (judgement.verdict, judgement.reason, judgement.bounds[0].result) == (
        "not_judged",
        "no_reference_text",
        "not_judged",
    )
    loss_judgement = judge(policy(LOSS, CLOZE), before=measured(), after=after)
    assert loss_judgement.reason == "no_reference_text"


def test_relearning_is_judged_by_its_worst_attack_and_only_beside_a_retrained_model() -> None:
    bounds = policy(CLOZE, {"across": "relearned_worst_ratio", "low": 0.5, "optional_from": 0})
    sets = {"forget": {**HONEST, "cloze": figure(0.1, 0.0, 0.2)}}
    cut = CutShort(measurement="relearned", what="relearned_sgd", done=1, of=10, reason="seconds")
    before, retrained = measured(sets={"unseen": UNSEEN}), measured(sets=sets, records={"forget": 60})

    def result(ratio: tuple[float, float, float] | None, *, beside: bool = True) -> tuple[str, str]:
        across = {} if ratio is None else {"relearned_worst_ratio": figure(*ratio)}
        after = measured(sets=sets, across=across, records={"forget": 60}, cut_short=[cut])
        judgement = judge(bounds, before=before, after=after, retrained=retrained if beside else None)
        return judgement.bounds[1].result, judgement.verdict

    assert result((0.7, 0.6, 0.8)) == ("passed", "passed")
    assert result((0.4, 0.35, 0.45)) == ("failed", "failed")
    assert result(None)[1] == "not_judged"
    assert result(None, beside=False)[1] == "passed"
    assert all(judged.bound.concerns_forgetting for judged in judge(bounds, before=before, after=retrained).bounds)
