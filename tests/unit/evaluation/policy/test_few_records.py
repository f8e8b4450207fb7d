"""Verdicts on few records: a single record to forget, few to retain, few unseen records to compare with."""

import pytest

from core.evaluation.policy.verdict import judge
from core.evaluation.stats.student_t import quantile
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Figure, Measurements, SetName
from core.schema.policies import Judgement
from tests.unit.evaluation.policy.judged import CLOZE, RETAIN, RETAIN_BEFORE, STRENGTH, figure, measured, policy


def well_forgotten(*, unseen: int, retain: int, forget: int = 100) -> dict[str, Measurements]:
    """Every figure of the default policy at its best value, on these numbers of records; no interval on one record."""

    def estimate(value: float, records: int, spread: float = 0.1) -> Figure:
        half = value * spread / records**0.5 * (quantile(records) / 2 if records > 1 else 1)
        return figure(value, *((value - half, value + half) if records > 1 else (None, None)), records=records)

    def text(records: int) -> dict[str, Figure]:
        return {
            "perplexity": estimate(40.0, records),
            "extraction_strength": estimate(0.02, records),
            "extraction_strength_highest": figure(0.1, 0.1, 0.1, records=records),
            "verbatim_recall": estimate(0.3, records),
            "verbatim_recall_highest": figure(0.5, 0.5, 0.5, records=records),
            "cloze": estimate(0.02, records),
            "cloze_highest": figure(0.25, 0.25, 0.25, records=records),
            "leak_rate_highest": figure(0.0, 0.0, 0.02, records=min(records, 4)),
            "exposure_rank": estimate(0.5, records),
        }

    change = {"perplexity": estimate(10.0, retain), "perplexity_ratio": estimate(1.0, retain, 0.02)}
    before = measured(sets={"unseen": text(unseen), "retain": change, "forget": text(forget)})
    after = measured(sets={"forget": text(forget), "retain": change}, variants={"int4": {"forget": text(forget)}})
    return {"before": before, "after": after}


def test_fewer_than_20_unseen_records_leave_the_bounds_underpowered() -> None:
    """Where no unseen text is pinned, who asks chooses it."""
    judgement = judge(DEFAULT_POLICY, **well_forgotten(unseen=100, retain=100))
    results = {judged.result for judged in judgement.bounds if judged.bound.against == "retrained"}
    assert (judgement.verdict, results - {"not_judged"}) == ("passed", {"passed"})
    for few in (1, 2, 19):
        judgement = judge(DEFAULT_POLICY, **well_forgotten(unseen=few, retain=100))
        assert (judgement.verdict, judgement.reason) == ("not_judged", "underpowered")
        compared_bounds = [
            judged for judged in judgement.bounds if judged.compared is not None and judged.bound.against == "retrained"
        ]
        assert len(compared_bounds) >= 6
        assert {judged.result for judged in compared_bounds} == {"underpowered"}
        assert {judged.compared.records for judged in compared_bounds if judged.compared} == {few}
    assert judge(DEFAULT_POLICY, **well_forgotten(unseen=20, retain=100)).verdict == "passed"


def test_a_single_forget_record_is_judged_if_the_other_sets_are_large() -> None:
    judgement = judge(DEFAULT_POLICY, **well_forgotten(unseen=100, retain=100, forget=1))
    results = {judged.bound.name: judged.result for judged in judgement.bounds if judged.carries}
    judged_from_one = (
        "extraction-highest",
        "verbatim-highest",
        "cloze-highest",
        "leak-rate",
        "int4.extraction-highest",
    )
    assert {results[name] for name in (*judged_from_one, "retain")} == {"passed"}
    assert (judgement.verdict, judgement.parts["extraction"].result) == ("passed", "passed")
    assert not judgement.parts["membership"].required


@pytest.mark.parametrize(("unseen", "ranked"), [(100, True), (100, False), (19, True), (19, False)])
def test_records_that_are_known_fail_by_their_ranks_whether_unseen_records_were_ranked_or_not(
    unseen: int, ranked: bool
) -> None:
    models = well_forgotten(unseen=unseen, retain=100, forget=10)
    models["after"].sets["forget"]["exposure_rank"] = figure(0.01, 0.01, 0.01, records=10)
    if not ranked:
        del models["before"].sets["unseen"]["exposure_rank"]
    exposure = next(judged for judged in judge(DEFAULT_POLICY, **models).bounds if judged.bound.name == "exposure")
    assert exposure.result == ("failed" if unseen == 100 else "underpowered")


@pytest.mark.parametrize(("records", "verdict"), [(1, "not_judged"), (2, "not_judged"), (10, "passed"), (20, "passed")])
def test_few_retain_records_do_not_show_that_other_knowledge_is_intact(records: int, verdict: str) -> None:
    judgement = judge(DEFAULT_POLICY, **well_forgotten(unseen=100, retain=records))
    assert judgement.verdict == verdict
    (retain,) = [judged for judged in judgement.bounds if judged.bound.name == "retain"]
    assert retain.result == ("underpowered" if verdict == "not_judged" else "passed")
    assert retain.carries


def test_an_unchanged_model_is_not_failed_on_few_records() -> None:
    def retain_result(change: Figure) -> str:
        after = measured(sets={"retain": {"perplexity": figure(10, 8, 12, 3), "perplexity_ratio": change}})
        return judge(policy(RETAIN, CLOZE), before=RETAIN_BEFORE, after=after).bounds[0].result

    assert retain_result(figure(1.0, 1.0, 1.0, records=2)) == "passed"
    assert retain_result(figure(1.01, 1.01, 1.01, records=2)) == "underpowered"  # the same text twice
    assert retain_result(figure(1.0, records=1)) == "underpowered"


def test_few_retain_records_without_paired_changes_are_underpowered() -> None:
    after = measured(
        sets={"retain": {"accuracy": figure(0.9, 0.9, 0.9, records=3)}, "forget": {"cloze": figure(0, 0, 0)}}
    )
    absolute = policy({"set": "retain", "figure": "accuracy", "low": 0.88}, CLOZE)
    assert judge(absolute, before=None, after=after).bounds[0].result == "underpowered"
    relative = policy({"set": "retain", "figure": "accuracy", "against": "before", "low": -0.02}, CLOZE)
    accuracy_before = {"accuracy": figure(0.9, 0.899, 0.901, records=3)}
    assert (
        judge(relative, before=measured(sets={"retain": accuracy_before}), after=after).bounds[0].result
        == "underpowered"
    )
    utility = policy({"across": "model_utility", "low": 0.5}, CLOZE)
    with_utility = measured(sets=after.sets, across={"model_utility": figure(0.6, 0.59, 0.61, records=1)})
    assert judge(utility, before=None, after=with_utility).bounds[0].result == "underpowered"


def test_a_retrained_or_earlier_figure_of_the_same_records_needs_no_interval() -> None:
    after = measured(sets={"forget": {"extraction_strength": figure(0.1, 0.08, 0.12)}})
    retrained = measured(sets={"forget": {"extraction_strength": figure(0.1)}})
    judged_bound = judge(policy(STRENGTH), before=None, after=after, retrained=retrained).bounds[0]
    assert (judged_bound.result, judged_bound.low) == ("passed", pytest.approx(-0.02))
    before = measured(sets={"forget": {"extraction_strength": figure(0.5)}})
    reduction = policy({"set": "forget", "figure": "extraction_strength", "against": "before", "high": -0.3})
    assert judge(reduction, before=before, after=after).bounds[0].result == "passed"


def judge_with_retained_set(name: SetName, records: int) -> Judgement:
    measurements = well_forgotten(unseen=100, retain=100)
    figures = {"perplexity": figure(10.0, 9.0, 11.0, records), "perplexity_ratio": figure(1.0, 0.99, 1.01, records)}
    for moment in measurements.values():
        moment.sets[name] = figures
    return judge(DEFAULT_POLICY, **measurements)


def test_few_protected_questions_give_a_warning_and_no_missing_verdict() -> None:
    few = judge_with_retained_set("protected", 4)
    assert few.verdict == "passed"
    assert few.warnings[-1] == ("'protected' has no part in the verdict: it stands on 4 records, and counts from 5 on")
    enough = judge_with_retained_set("protected", 5)
    assert (enough.verdict, [warning for warning in enough.warnings if "protected" in warning]) == ("passed", [])
    assert [judged.result for judged in enough.bounds if judged.bound.name == "protected"] == ["passed"]


def test_unmeasured_general_ability_gives_a_warning() -> None:
    (warning,) = judge(DEFAULT_POLICY, **well_forgotten(unseen=100, retain=100)).warnings
    assert warning == "general ability was not measured, for want of general text: 'general' was not judged"
    assert judge_with_retained_set("general", 100).warnings == []
    assert judge(policy(CLOZE), before=None, after=measured()).warnings == []  # a policy without a bound on it
