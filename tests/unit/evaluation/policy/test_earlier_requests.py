"""The verdict on text that earlier jobs made the model forget."""

import pytest

from core.evaluation.policy.earlier_requests import describe_earlier
from core.evaluation.policy.verdict import judge
from core.schema.default_policy import EARLIER_BOUNDS
from core.schema.evaluation import Figure, Measurements
from core.schema.figure_names import PREVIOUSLY_FORGOTTEN
from core.schema.policies import Bound, Judgement, Policy
from core.schema.previously_forgotten import ForgottenFigures, PreviouslyForgotten, State, Unmeasured
from core.schema.verdict_parts import Verdict

POLICY = Policy(
    name="a", bounds=[Bound(name="out", set="forget", figure="extraction_strength_highest", high=0.5), *EARLIER_BOUNDS]
)


FIGURES = ForgottenFigures(perplexity=20.0, extraction_strength=0.0, extraction_strength_highest=0.0)


def entry(job: str, state: State, returned: int = 0, *, reason: Unmeasured | None = None) -> PreviouslyForgotten:
    measured = 0 if state == "not_measured" else 4
    return PreviouslyForgotten(
        job=job, state=state, records=9, measured=measured, returned=returned, then=FIGURES, now=FIGURES, reason=reason
    )


def judged(*entries: PreviouslyForgotten) -> Judgement:
    figure = Figure(value=0.1, low=0.1, high=0.1, records=3)
    after = Measurements(
        sets={"forget": {"extraction_strength_highest": figure}},
        previously_forgotten=list(entries),
        seconds=1.0,
        model_digest="0" * 64,
    )
    if measured := sum(entry.measured for entry in entries):
        share = sum(entry.returned for entry in entries) / measured
        after.across[PREVIOUSLY_FORGOTTEN] = Figure(value=share, low=share, high=share, records=measured)
    return judge(POLICY, before=None, after=after)


@pytest.mark.parametrize(
    ("entries", "verdict", "warnings"),
    [
        ([], "passed", []),
        ([entry("job-1", "forgotten")], "passed", []),
        (
            [entry("job-2", "forgotten"), entry("job-1", "returned", 1)],
            "failed",
            ["text that job-1 made the model forget has come back: 1 of 4 measured records"],
        ),
        (
            [entry("job-2", "forgotten"), entry("job-1", "not_measured", reason="deleted")],
            "passed",
            [
                "whether the text that job-1 made the model forget is still forgotten could not be measured: it is no"
                " longer stored"
            ],
        ),
        (
            [entry("job-2", "not_measured", reason="deleted"), entry("job-1", "not_measured", reason="deleted")],
            "passed",
            [
                "whether the text that 2 earlier jobs made the model forget is still forgotten could not be measured:"
                " it is no longer stored"
            ],
        ),
    ],
)
def test_one_record_that_has_come_back_fails_the_verdict_and_deleted_text_warns(
    entries: list[PreviouslyForgotten], verdict: Verdict, warnings: list[str]
) -> None:
    judgement = judged(*entries)
    assert (judgement.verdict, judgement.warnings) == (verdict, warnings)
    assert judgement.parts["extraction"].result == "passed"
    assert [bound.result for bound in judgement.bounds if bound.part is None] == (
        ["failed"]
        if verdict == "failed"
        else ["passed"]
        if any(entry.measured for entry in entries)
        else ["not_judged"]
    )


def test_text_without_figures_to_compare_with_warns_of_what_comes_out() -> None:
    uncompared = entry("job-1", "returned", 2).model_copy(update={"then": None})
    assert describe_earlier([uncompared]) == [
        "text that job-1 had to forget comes out of the model: 2 of 4 measured records. They do not count, because that"
        " job kept no figures to compare with"
    ]


def test_reasons_for_text_that_was_not_measured_are_told_apart() -> None:
    entries = [
        entry("job-3", "not_measured", reason="unreadable"),
        entry("job-2", "not_measured", reason="deleted"),
        entry("job-1", "not_measured", reason="no_figures"),
    ]
    begins = [f"whether the text that {job} made the model forget" for job in ("job-2", "job-3", "job-1")]
    reasons = ["no longer stored", "could not be read", "none of the sampled records has figures to compare with"]
    for sentence, begin, reason in zip(describe_earlier(entries), begins, reasons, strict=True):
        assert sentence.startswith(begin)
        assert sentence.endswith(reason)
