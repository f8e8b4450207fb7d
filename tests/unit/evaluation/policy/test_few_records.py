"""Verdicts where few records stand for much: a single one to forget, a few to keep, a few to compare with."""

import pytest

from core.evaluation.policy.verdict import judge
from core.evaluation.stats.student_t import quantile
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Figure, Measurements, SetName
from core.schema.policies import Judgement
from tests.unit.evaluation.policy.judged import CLOZE, RETAIN, STRENGTH, WAS, figure, measured, policy


def well_forgotten(*, unseen: int, retain: int, forget: int = 100) -> dict[str, Measurements]:
    """All that the default policy asks for, as good as can be, on so many records; of a single one no interval."""

    def of(value: float, records: int, spread: float = 0.1) -> Figure:
        half = value * spread / records**0.5 * (quantile(records) / 2 if records > 1 else 1)
        return figure(value, *((value - half, value + half) if records > 1 else (None, None)), records=records)

    def text(records: int) -> dict[str, Figure]:
        return {
            "perplexity": of(40.0, records),
            "extraction_strength": of(0.02, records),
            "extraction_strength_highest": figure(0.1, 0.1, 0.1, records=records),
            "verbatim_recall": of(0.3, records),
            "verbatim_recall_highest": figure(0.5, 0.5, 0.5, records=records),
            "cloze": of(0.02, records),
            "cloze_highest": figure(0.25, 0.25, 0.25, records=records),
            "leak_rate_highest": figure(0.0, 0.0, 0.02, records=min(records, 4)),
            "exposure_rank": of(0.5, records),
        }

    change = {"perplexity": of(10.0, retain), "perplexity_ratio": of(1.0, retain, 0.02)}
    before = measured(sets={"unseen": text(unseen), "retain": change, "forget": text(forget)})
    after = measured(sets={"forget": text(forget), "retain": change}, variants={"int4": {"forget": text(forget)}})
    return {"before": before, "after": after}


def test_a_yardstick_of_hardly_any_records_tells_nothing() -> None:
    """Where no unseen text is pinned, who asks chooses it."""
    fine = judge(DEFAULT_POLICY, **well_forgotten(unseen=100, retain=100))
    assert (fine.verdict, {one.result for one in fine.bounds if one.bound.against == "retrained"} - {"not_judged"}) == (
        "passed",
        {"passed"},
    )
    for few in (1, 2, 19):
        found = judge(DEFAULT_POLICY, **well_forgotten(unseen=few, retain=100))
        assert (found.verdict, found.reason) == ("not_judged", "underpowered")
        beside = [one for one in found.bounds if one.compared is not None and one.bound.against == "retrained"]
        assert len(beside) >= 6
        assert {one.result for one in beside} == {"underpowered"}
        assert {one.compared.records for one in beside if one.compared} == {few}
    assert judge(DEFAULT_POLICY, **well_forgotten(unseen=20, retain=100)).verdict == "passed"


def test_a_single_record_to_forget_is_judged_beside_good_sets() -> None:
    found = judge(DEFAULT_POLICY, **well_forgotten(unseen=100, retain=100, forget=1))
    told = {one.bound.name: one.result for one in found.bounds if one.carries}
    judged_from_one = (
        "extraction-highest",
        "verbatim-highest",
        "cloze-highest",
        "leak-rate",
        "int4.extraction-highest",
    )
    assert {told[name] for name in (*judged_from_one, "retain")} == {"passed"}
    assert (found.verdict, found.parts["extraction"].result) == ("passed", "passed")
    assert not found.parts["membership"].required


@pytest.mark.parametrize(("records", "verdict"), [(1, "not_judged"), (2, "not_judged"), (10, "passed"), (20, "passed")])
def test_a_few_records_do_not_show_that_the_rest_is_intact(records: int, verdict: str) -> None:
    found = judge(DEFAULT_POLICY, **well_forgotten(unseen=100, retain=records))
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
        sets={"retain": {"accuracy": figure(0.9, 0.9, 0.9, records=3)}, "forget": {"cloze": figure(0, 0, 0)}}
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
    retrained = measured(sets={"forget": {"extraction_strength": figure(0.1)}})
    found = judge(policy(STRENGTH), before=None, after=after, retrained=retrained).bounds[0]
    assert (found.result, found.low) == ("passed", pytest.approx(-0.02))
    before = measured(sets={"forget": {"extraction_strength": figure(0.5)}})
    less = policy({"set": "forget", "figure": "extraction_strength", "against": "before", "high": -0.3})
    assert judge(less, before=before, after=after).bounds[0].result == "passed"


def with_survivors(name: SetName, records: int) -> Judgement:
    found = well_forgotten(unseen=100, retain=100)
    few = {"perplexity": figure(10.0, 9.0, 11.0, records), "perplexity_ratio": figure(1.0, 0.99, 1.01, records)}
    for one in found.values():
        one.sets[name] = few
    return judge(DEFAULT_POLICY, **found)


def test_a_few_protected_questions_keep_no_job_from_being_judged_and_it_is_said() -> None:
    few = with_survivors("protected", 4)
    assert few.verdict == "passed"
    assert few.warnings[-1] == ("'protected' has no part in the verdict: it stands on 4 records, and counts from 5 on")
    enough = with_survivors("protected", 5)
    assert (enough.verdict, [one for one in enough.warnings if "protected" in one]) == ("passed", [])
    assert [one.result for one in enough.bounds if one.bound.name == "protected"] == ["passed"]


def test_that_general_ability_was_not_measured_is_said() -> None:
    (said,) = judge(DEFAULT_POLICY, **well_forgotten(unseen=100, retain=100)).warnings
    assert said == "general ability was not measured, for want of general text: 'general' was not judged"
    assert with_survivors("general", 100).warnings == []
    assert judge(policy(CLOZE), before=None, after=measured()).warnings == []  # a policy that asks nothing of it
