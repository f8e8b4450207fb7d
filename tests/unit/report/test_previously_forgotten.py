"""The sentences on text of earlier requests say no more than was measured."""

import pytest

from core.report.previously_forgotten import describe_previously_forgotten, summarize_previously_forgotten
from core.schema.previously_forgotten import ForgottenFigures, PreviouslyForgotten, Unmeasured

FIGURES = ForgottenFigures(perplexity=20.0, extraction_strength=0.0, extraction_strength_highest=0.0)
MEASURED = PreviouslyForgotten(
    job="job-1", state="forgotten", records=64, measured=64, returned=0, then=FIGURES, now=FIGURES
)


def summary(*entries: PreviouslyForgotten) -> list[str]:
    figures = {"previously_forgotten": [entry.model_dump(mode="json") for entry in entries]}
    return summarize_previously_forgotten(describe_previously_forgotten(figures))


@pytest.mark.parametrize(("records", "begin"), [(64, "The text that"), (500, "A sample of the text that")])
def test_the_summary_says_where_only_a_sample_was_measured(records: int, begin: str) -> None:
    (sentence,) = summary(MEASURED.model_copy(update={"records": records}))
    assert sentence == f"{begin} an earlier job made the model forget was measured again: none came back."


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("deleted", "is no longer stored"),
        ("unreadable", "could not be"),
        ("no_figures", "figures"),
        (None, ", or could"),
    ],
)
def test_text_that_was_not_measured_has_its_own_reason(reason: Unmeasured | None, words: str) -> None:
    changed = {"state": "not_measured", "measured": 0, "then": None, "now": None, "reason": reason, "hmac_sha256": "ab"}
    entry = MEASURED.model_copy(update=changed)
    (sentence,) = summary(entry)
    assert words in sentence
    (told,) = describe_previously_forgotten({"previously_forgotten": [entry]})
    assert words in told.answer
    assert ("no longer stored" in told.answer) == (reason in ("deleted", None))
    assert ("HMAC ab" in told.answer) == (reason in ("deleted", None))
    assert "No job kept figures of its single records." in told.answer
    measured_then = entry.model_copy(update={"last_measured": "job-1"})
    (told,) = describe_previously_forgotten({"previously_forgotten": [measured_then]})
    assert "The last job that measured it is that job itself" in told.answer
