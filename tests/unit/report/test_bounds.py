"""Bounds in sentences."""

import pytest

from core.report.bounds import describe_bounds
from core.report.numbers import number_text
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Figure
from core.schema.policies import Bound, JudgedBound, Result, Yardstick
from core.schema.report import ReportBound

BOUNDS = {bound.name: bound for bound in DEFAULT_POLICY.bounds}


def describe(
    bound: Bound,
    value: float | None,
    interval: tuple[float, float] | None,
    result: Result,
    *,
    yardstick: Yardstick | None = None,
    compared: float | None = None,
    carries: bool = True,
    measured: bool = False,
    retrained: bool = False,
) -> ReportBound:
    low, high = interval if interval else (None, None)
    judged = JudgedBound(
        bound=bound,
        part=bound.part,
        value=value,
        low=low,
        high=high,
        limit_low=bound.low,
        limit_high=bound.high,
        result=result,
        why="not_measured" if result == "not_judged" else None,
        carries=carries,
        records=None if value is None else 60,
        figure=None if value is None and not measured else Figure(value=0.25, low=0.2, high=0.3, records=60),
        compared=None if compared is None else Figure(value=compared, low=compared, high=compared, records=80),
        yardstick=yardstick,
    )
    (described,) = describe_bounds([judged], retrained=retrained, levels={"loss": 0.99})
    return described


def test_a_comparison_names_both_figures_their_difference_and_the_limit() -> None:
    bound = BOUNDS["extraction"]
    described = describe(bound, 0.24, (0.2, 0.28), "failed", yardstick="unseen_text", compared=0.01)
    assert (
        described.question
        == "If the model is given part of a record, how much of the rest does it write word for word?"
    )
    assert described.answer == (
        "Extraction strength of the text to forget (0: nothing comes out, 1: everything; less is better): 0.25 after"
        " the job; 0.01 before the job, on text that the model had never seen. The difference is 0.24 (95 % interval:"
        " 0.2 to 0.28). It must be at most 0.1. Measured on 60 records. The limit is not kept."
    )


def test_an_auc_that_is_compared_with_guessing_is_told_as_an_auc() -> None:
    bound = BOUNDS["membership.loss"]
    described = describe(bound, 0.04, (-0.09, 0.16), "underpowered", yardstick="chance", compared=0.5, carries=False)
    assert described.answer == (
        "AUC of the attack loss: 0.54 (99 % interval: 0.41 to 0.66). It must be between 0.35 and 0.65; 0.5 is"
        " guessing, 1 is always right, and the nearer to 0.5 the better. Measured on 60 records. The interval reaches"
        " over the limit: whether it is kept cannot be told. This test does not"
        " count for the verdict here: it counts from 150 records on."
    )


def test_a_bound_says_the_level_of_its_interval() -> None:
    membership = BOUNDS["membership.loss"]
    assert describe(membership, 0.04, (-0.09, 0.16), "passed", yardstick="chance", compared=0.5).level == 0.99
    assert describe(BOUNDS["extraction"], 0.24, (0.2, 0.28), "failed").level == 0.95
    assert describe(membership, None, None, "not_judged").level is None


def test_a_mean_without_a_spread_is_not_told_to_be_known_exactly() -> None:
    answer = describe(BOUNDS["exposure"], 0.01, (0.01, 0.01), "failed").answer
    assert "0.01, the same for every record. It must be at least 0.3." in answer


def test_a_figure_of_these_very_records_is_known_exactly() -> None:
    described = describe(BOUNDS["leak-rate"], 0.01, (0.01, 0.01), "passed")
    assert "0.01, known exactly for these records. It must be at most 0.05." in described.answer


def test_a_bound_that_was_not_measured_says_so() -> None:
    described = describe(BOUNDS["relearned"], None, None, "not_judged", carries=False)
    assert described.answer.startswith(
        "Lowest ratio of perplexities after further training: not judged, because it takes a retrained model to compare"
        " with, and none was measured."
    )
    beside = describe(BOUNDS["relearned"], None, None, "not_judged", carries=False, retrained=True)
    assert "not judged, because it was not measured." in beside.answer


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cloze", "it was measured, but there is nothing to compare it with"),
        ("retain", "it was measured, but no ratio to another figure can be formed"),
        ("membership.loss", "it was not measured how far the texts can be told apart without the model"),
    ],
)
def test_a_bound_that_was_measured_says_what_else_is_missing(name: str, reason: str) -> None:
    answer = describe(BOUNDS[name], None, None, "not_judged", measured=True).answer
    assert f"not judged, because {reason}." in answer


def test_questions_are_in_the_plural() -> None:
    question = describe(BOUNDS["protected"], 1.0, (0.9, 1.1), "passed").question
    assert question.startswith("Do the questions about what the model must keep surprise")


@pytest.mark.parametrize("name", list(BOUNDS))
def test_every_bound_of_the_default_policy_has_a_question_of_its_own_words(name: str) -> None:
    question = describe(BOUNDS[name], 0.1, (0.0, 0.2), "passed").question
    assert question.endswith("?")
    assert "_" not in question
    assert "keep its limits" not in question


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "0"), (1e-64, "under 0.001"), (-1e-9, "just under 0"), (0.00477, "0.005"), (-0.335, "−0.335")),
        *((0.2, "0.2"), (1.0, "1"), (54.63, "54.6"), (100.0, "100"), (1243567.0, "1,243,567"), (999.96, "1,000")),
    ],
)
def test_numbers_have_few_digits_and_no_powers_of_ten(value: float, text: str) -> None:
    assert number_text(value) == text


def test_a_figure_without_an_interval_is_too_small_to_tell() -> None:
    described = describe(BOUNDS["extraction"], 0.0, None, "underpowered", yardstick="unseen_text", compared=0.0)
    assert "interval" not in described.answer
    assert described.answer.endswith(
        "Whether the limit is kept is open: there are too few records, or they differ too much, to tell."
    )


def test_few_records_to_compare_with_are_named() -> None:
    bound = BOUNDS["verbatim"]
    few = Figure(value=0.4, low=None, high=None, records=12)
    judged = JudgedBound(
        bound=bound,
        part=bound.part,
        value=0.1,
        limit_low=None,
        limit_high=0.1,
        result="underpowered",
        why="underpowered",
        carries=True,
        records=24,
        figure=Figure(value=0.5, low=0.4, high=0.6, records=24),
        compared=few,
        yardstick="unseen_text",
    )
    (described,) = describe_bounds([judged], retrained=False, levels={})
    assert described.answer.endswith("is open: the text to compare with has only 12 records that measure.")


def test_several_limits_on_one_figure_are_told_apart() -> None:
    names = ("extraction", "extraction-many", "verbatim")
    judged = [
        JudgedBound(
            bound=BOUNDS[name],
            part=BOUNDS[name].part,
            limit_low=None,
            limit_high=BOUNDS[name].high,
            result="not_judged",
            carries=True,
        )
        for name in names
    ]
    answers = [bound.answer for bound in describe_bounds(judged, retrained=False, levels={})]
    alone = [answer.startswith("The policy has 2 limits on this figure; this is one of them.") for answer in answers]
    assert alone == [True, True, False]
