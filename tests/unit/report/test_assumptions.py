"""Text that the service made, in the words of a verdict."""

from core.report.assumptions import list_assumptions
from core.schema.jobs import SetUsed


def used(**fields: object) -> SetUsed:
    return SetUsed.model_validate({"file": None, "records": 24, "sha256": None} | fields)


def test_only_made_sets_are_assumed() -> None:
    assert list_assumptions([used(name="forget", origin="request"), used(name="retain", origin="model")]) == []


def test_made_text_to_keep_is_named_with_what_the_verdict_takes_for_granted() -> None:
    (sentence,) = list_assumptions([used(name="retain", origin="made_by_the_model")])
    assert sentence.startswith(
        "Nobody named text to keep, so the service made 24 records itself: text that the model wrote by itself. The"
        " verdict assumes"
    )
    (only_trained,) = list_assumptions([used(name="retain", part="trains", origin="made_by_the_model")])
    assert "the verdict does not rest on them" in only_trained


def test_made_unseen_text_judges_no_membership() -> None:
    (sentence,) = list_assumptions([used(name="unseen", part="trains", origin="made_by_swapping")])
    assert "is not judged by them" in sentence
