"""Policies: invalid bounds are refused, and a request can tighten a policy but never loosen it."""

from typing import Any

import pytest
from pydantic import ValidationError

from core.schema.policies import Bound, Bounds, Policy, PolicyLoosened, loosened_bounds

RETAIN = {"name": "retain", "set": "retain", "figure": "perplexity", "against": "before", "by": "ratio", "high": 1.05}
LOSS = {
    "name": "loss",
    "attack": "loss",
    "against": "retrained",
    "low": -0.1,
    "high": 0.1,
    "judged_from": 100,
    "optional_from": 5,
}
PINNED = Policy.model_validate({"name": "pinned", "bounds": [RETAIN, LOSS]})


def requested(**changes: Any) -> Policy:
    return Policy.model_validate({"name": "requested", "bounds": [RETAIN, LOSS | changes]})


def test_a_bound_names_one_known_figure() -> None:
    for good in (
        RETAIN,
        LOSS,
        {"name": "a", "across": "baseline_auc", "high": 0.6},
        {"name": "a", "set": "forget", "figure": "probability", "variant": "int4", "against": "retrained", "high": 0.1},
        {"name": "a", "curve": "relearned_forget", "against": "retrained", "by": "ratio", "low": 0.8},
        {"name": "a", "benchmark": "any_task", "figure": "acc,none", "against": "before", "low": -0.02},
    ):
        Bound.model_validate(good)


@pytest.mark.parametrize(
    ("bound", "problem"),
    [
        ({"high": 1.0}, "name exactly one of: set, attack"),
        ({"set": "forget", "figure": "cloze", "attack": "loss", "high": 1.0}, "name exactly one of"),
        ({"set": "forget", "high": 1.0}, "`figure` goes with"),
        ({"attack": "loss", "figure": "cloze", "high": 1.0}, "`figure` goes with"),
        ({"attack": "loss", "variant": "int4", "high": 1.0}, "`variant` goes with `set`"),
        ({"set": "forget", "figure": "perplexities", "high": 1.0}, "choose of perplexity, perplexity_tokens, accuracy"),
        ({"attack": "los", "high": 1.0}, "no such attack: choose of loss, zlib"),
        ({"across": "auc", "high": 1.0}, "choose of baseline_auc"),
        ({"curve": "relearned", "against": "before", "high": 1.0}, "choose of relearned_forget"),
        ({"set": "forget", "figure": "cloze", "variant": "int3", "high": 1.0}, "choose of int8, int4"),
        ({"attack": "loss"}, "a bound has a limit"),
        ({"attack": "loss", "low": 0.6, "high": 0.5}, "low is above high"),
        ({"attack": "loss", "high": float("inf")}, "finite number"),
        ({"attack": "loss", "high": float("nan")}, "finite number"),
        ({"attack": "loss", "by": "ratio", "high": 1.0}, "a ratio needs `against`"),
        ({**RETAIN, "low": -0.5}, "limits of a ratio are above 0"),
        ({"set": "retain", "figure": "cloze", "against": "retrained", "high": 1.0}, "what is forgotten"),
        ({"set": "retain", "figure": "cloze", "high": 1.0}, "`cloze` is measured of forget, unseen, not of retain"),
        ({"set": "forget", "figure": "cloze", "variant": "int4", "high": 1.0}, "choose of perplexity, probability"),
        ({"curve": "relearned_forget", "high": 1.0}, "a curve is compared"),
        ({"attack": "loss", "high": 1.0, "judged_from": 0}, "greater than or equal to 1"),
        ({"attack": "loss", "high": 1.0, "optional_from": -1}, "greater than or equal to 0"),
        ({"attack": "loss", "high": 1.0, "unknown": 0}, "Extra inputs"),
    ],
)
def test_an_invalid_bound_is_refused(bound: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as error:
        Bound.model_validate({"name": "a", **bound})
    assert problem in str(error.value)


def test_a_policy_has_bounds_of_different_names_and_one_about_forgetting() -> None:
    for bounds, problem in (
        ([], "at least 1 item"),
        ([RETAIN], "nothing could pass"),
        ([LOSS, {**RETAIN, "name": "loss"}], "bounds of the same name: loss"),
    ):
        with pytest.raises(ValidationError, match=problem):
            Policy.model_validate({"name": "a", "bounds": bounds})


def test_bounds_that_concern_forgetting_are_recognised() -> None:
    assert Bound.model_validate(LOSS).concerns_forgetting
    assert Bound(name="a", across="privleak_loss", high=5).concerns_forgetting
    assert Bound(name="a", set="probes", figure="probability", high=1).concerns_forgetting
    assert not Bound.model_validate(RETAIN).concerns_forgetting
    assert not Bound(name="a", across="model_utility", low=0).concerns_forgetting


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"high": 0.11}, "high may not be over 0.1"),
        ({"high": None}, "high may not be over 0.1"),
        ({"low": -0.11}, "low may not be under -0.1"),
        ({"low": None}, "low may not be under -0.1"),
        ({"judged_from": 101}, "judged_from may not be over 100"),
        ({"optional_from": 4}, "optional_from must be 5 or more, or null"),
        ({"attack": "zlib"}, "compares something else"),
        ({"against": "before"}, "compares something else"),
        ({"name": "other"}, "bound 'loss' is missing"),
    ],
)
def test_each_loosened_limit_is_named(changes: dict[str, Any], problem: str) -> None:
    (sentence,) = loosened_bounds(PINNED, requested(**changes))
    assert problem in sentence


def test_a_tightened_policy_is_not_loosened() -> None:
    for changes in ({}, {"high": 0.05, "low": -0.1}, {"judged_from": 1}, {"optional_from": None}, {"optional_from": 9}):
        assert loosened_bounds(PINNED, requested(**changes)) == []
    strict = Policy.model_validate({"name": "pinned", "bounds": [{**LOSS, "optional_from": None}]})
    assert "must be null" in loosened_bounds(strict, requested(optional_from=10**6))[0]


def test_a_request_adds_and_tightens_bounds_and_keeps_the_others() -> None:
    more = {"name": "more", "set": "forget", "figure": "cloze", "high": 0.2}
    policy = Policy.model_validate({"name": "requested", "bounds": [{**LOSS, "high": 0.05}, more]})
    tightened = PINNED.tightened(policy)
    assert tightened.name == "requested"
    assert [(bound.name, bound.high) for bound in tightened.bounds] == [("retain", 1.05), ("loss", 0.05), ("more", 0.2)]
    assert [bound.added for bound in tightened.bounds] == [False, False, True]
    with pytest.raises(PolicyLoosened, match="bound 'loss': high may not be over"):
        PINNED.tightened(requested(high=0.2))


def test_bounds_on_survival_alone_can_tighten_a_policy_but_are_no_policy() -> None:
    kept = {"name": "requested", "bounds": [{**RETAIN, "high": 1.01}]}
    tightened = PINNED.tightened(Bounds.model_validate(kept))
    assert [(bound.name, bound.high) for bound in tightened.bounds] == [("retain", 1.01), ("loss", 0.1)]
    with pytest.raises(ValidationError, match="no bound is about what must be forgotten"):
        Policy.model_validate(kept)


def test_a_bound_belongs_to_a_part_by_its_figure() -> None:
    for part, bounds in {
        "extraction": [
            {"set": "forget", "figure": "extraction_strength", "variant": "int4", "high": 1},
            {"set": "forget", "figure": "leak_rate_highest", "high": 1},
            {"set": "probes", "figure": "paraphrase_recall", "high": 1},
        ],
        "membership": [
            LOSS,
            {"set": "forget", "figure": "exposure_rank", "low": 0},
            {"curve": "relearned_forget", "against": "before", "low": 0},
            {"across": "privleak_loss", "high": 5},
        ],
        None: [RETAIN, {"across": "model_utility", "low": 0}, {"benchmark": "arc", "figure": "acc", "low": 0}],
    }.items():
        assert {Bound.model_validate({**bound, "name": "a"}).part for bound in bounds} == {part}


def test_a_limit_of_the_figure_alone_goes_with_what_is_forgotten() -> None:
    highest = {"name": "a", "set": "forget", "figure": "cloze_highest", "high": 0.5, "high_alone": 0.5}
    Bound.model_validate({**highest, "against": "retrained"})
    for other in (highest, {**highest, "against": "before"}, {**LOSS, "high_alone": 0.5}):
        with pytest.raises(ValidationError, match="`high_alone` goes with"):
            Bound.model_validate(other)


@pytest.mark.parametrize(
    ("pinned", "wished", "problem"),
    [
        (0.5, 0.6, "high_alone must be 0.5 or less, or null"),
        (None, 0.6, "high_alone must be null"),
        (0.5, 0.4, None),
        (0.5, None, None),
    ],
)
def test_a_limit_of_the_figure_alone_is_tightened_only(
    pinned: float | None, wished: float | None, problem: str | None
) -> None:
    bound = {"name": "a", "set": "forget", "figure": "cloze_highest", "against": "retrained", "high": 0.5}
    policies = [
        Policy.model_validate({"name": "p", "bounds": [{**bound, "high_alone": alone}]}) for alone in (pinned, wished)
    ]
    assert loosened_bounds(*policies) == ([] if problem is None else [f"bound 'a': {problem}"])


def test_a_request_may_require_more_of_a_part_and_never_less() -> None:
    pinned = Policy.model_validate({"name": "pinned", "bounds": [LOSS], "requires": {"membership": 10}})
    assert (pinned.requires.extraction, pinned.requires.membership) == (1, 10)
    assert PINNED.requires.membership == 20

    def tightened(**requires: int | None) -> Policy:
        return pinned.tightened(Bounds.model_validate({"name": "w", "bounds": [LOSS], "requires": requires}))

    assert pinned.tightened(Bounds.model_validate({"name": "w", "bounds": [LOSS]})).requires == pinned.requires
    assert tightened(membership=5).requires.membership == 5
    assert tightened(extraction=1).requires.membership == 10  # what it does not name stays
    for requires, problem in (
        ({"membership": 11}, "requires.membership may not be over 10"),
        ({"membership": None}, "requires.membership may not be over 10"),
        ({"extraction": None}, "requires.extraction may not be over 1"),
    ):
        with pytest.raises(PolicyLoosened, match=problem):
            tightened(**requires)
    with pytest.raises(ValidationError):
        tightened(membership=0)
