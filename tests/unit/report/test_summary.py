"""The summary of a report says what was shown, what was not, and what is still stored."""

from datetime import UTC, datetime
from typing import Any

import pytest

from core.report.summary import summarize
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Attack, Figure, Measurements
from core.schema.figure_names import PREVIOUSLY_FORGOTTEN
from core.schema.policies import Result
from core.schema.report import (
    Report,
    ReportBound,
    ReportFigures,
    ReportModel,
    ReportPart,
    ReportPurge,
    ReportVerdict,
)

FIGURE = Figure(value=2.0, low=1.9, high=2.1, records=170)


def bounds(**results: Result) -> list[ReportBound]:
    """The bounds of the default policy: all passed, but for those that are named."""
    return [
        ReportBound(
            bound=bound,
            part=bound.part,
            limit_low=bound.low,
            limit_high=bound.high,
            result=results.get(bound.name.replace("-", "_"), "passed"),
            carries=results.get(bound.name.replace("-", "_")) != "not_judged",
            records=170,
            question="",
            answer="",
        )
        for bound in DEFAULT_POLICY.bounds
    ]


def report(judged: list[ReportBound], *, attacks: tuple[str, ...] = (), purge: tuple[ReportPurge, ...] = ()) -> Report:
    after = Measurements(
        sets={"retain": {"perplexity": FIGURE}},
        attacks={name: Attack.model_construct(auc=FIGURE) for name in attacks},
        seconds=1.0,
        model_digest="0" * 64,
    )
    parts = [
        ReportPart(part=part, question="", result="passed", reason=None, required=True)
        for part in ("extraction", "membership")
    ]
    verdict: Any = {"policy": DEFAULT_POLICY, "result": "passed", "parts": parts, "bounds": judged, "assumptions": []}
    return Report.model_construct(
        kind="unlearn",
        status="succeeded",
        outcome="unlearned",
        data=[],
        model=ReportModel.model_construct(id="demo"),
        shared_run=[],
        checkpoint=None,
        previously_forgotten=[],
        purge=list(purge),
        figures=ReportFigures(measure=[], before=None, after=after, retrained=None),
        verdict=ReportVerdict.model_construct(**verdict),
    )


def test_only_the_tests_and_attacks_of_the_policy_are_claimed() -> None:
    judged = {bound.attack for bound in DEFAULT_POLICY.bounds if bound.attack}
    sentences = summarize(report(bounds(), attacks=(*sorted(judged), "gradnorm", "min_k_5")))
    assert sentences[1] == "By the policy's tests, no more of the text came out than its limits allow."
    assert sentences[2] == (
        "By the attacks that the policy names, an attacker could not tell that the model has seen the text, within the"
        " policy's limits. 2 more attacks were computed and are not judged; they are in the annex."
    )
    assert "annex" not in summarize(report(bounds(), attacks=("loss",)))[2]


def test_what_is_intact_is_named_beside_what_was_not_measured() -> None:
    sentences = summarize(report(bounds(general="not_judged", protected="not_judged")))
    assert sentences[3] == (
        "What the model must keep is intact, within the policy's limits, as measured on the text to keep (170 records)."
        " General ability and the answers to questions about what the model must keep were not measured."
    )


def test_the_verdict_counts_the_tests_that_the_report_lists() -> None:
    listed = [bound for bound in DEFAULT_POLICY.bounds if bound.across != PREVIOUSLY_FORGOTTEN]
    judged = bounds(relearned="not_judged", general="not_judged", cloze="underpowered")
    verdict, results = summarize(report(judged))[4:6]
    assert verdict.endswith(" passed.")
    assert results == (
        f"{len(listed) - 3} tests passed, 0 failed, 1 could not be told (cloze), 2 not judged (relearned, general). A"
        " name in parentheses stands below the result of its test."
    )


@pytest.mark.parametrize(
    ("purge", "end"),
    [
        ((False, datetime(2026, 12, 28, 23, tzinfo=UTC)), "by the service until 28 December 2026."),
        ((False, None), "by the service, and no day is set for its deletion."),
        ((True, None), None),
    ],
    ids=["until a day", "without an end", "deleted"],
)
def test_text_that_is_still_stored_is_named(purge: tuple[bool, datetime | None], end: str | None) -> None:
    deleted, expires_at = purge
    file = ReportPurge(file="file-1", deleted=deleted, deleted_at=None, expires_at=expires_at)
    stored = [sentence for sentence in summarize(report(bounds(), purge=(file,))) if "still stored" in sentence]
    assert stored == ([] if end is None else [f"The text to forget is still stored, encrypted, {end}"])
