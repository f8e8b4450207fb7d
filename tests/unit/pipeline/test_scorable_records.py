"""Records without a token to score: named where they would train, counted and left out where they would be measured."""

import pytest

from core.lm.errors import CoreError
from core.pipeline.data_split import DataSplit
from core.pipeline.scorable_records import drop_unscorable, refuse_unscorable
from core.schema.job_spec import RecordSet
from core.schema.record import Record
from core.unlearning.step_plan import TrainingSets
from tests.unit.lm.tiny import tiny_tokenizer

BARE = tiny_tokenizer("$A")
"""Puts nothing before a text, so that one of a single token has none to score."""

LONG, SHORT, MUTE = Record(text="w0 w1 w2"), Record(text="w7"), Record(text="w8")


def test_what_has_nothing_to_score_is_left_out_in_counts() -> None:
    parts = DataSplit(TrainingSets(forget=[]))
    parts.measuring = {"forget": [SHORT, LONG, MUTE], "unseen": [SHORT], "retain": [LONG]}
    assert drop_unscorable(parts, BARE, "auto") == [
        "forget: 2 records have no token to score and are not measured",
        "unseen: 1 record has no token to score and is not measured",
    ]
    assert parts.measuring == {"forget": [LONG], "unseen": [], "retain": [LONG]}


def test_answers_that_have_nothing_to_score_are_not_asked_for_and_the_others_are() -> None:
    asked = LONG.model_copy(update={"wrong": ["w3", "w4 w5", "w6"], "paraphrased_answer": "w1"})
    parts = DataSplit(TrainingSets(forget=[]), {"probes": [LONG, asked]})
    assert drop_unscorable(parts, BARE, "auto") == [
        "probes: 3 other answers have no token to score and are not asked for"
    ]
    assert parts.measuring == {"probes": [LONG, LONG.model_copy(update={"wrong": ["w4 w5"]})]}
    assert (
        drop_unscorable(DataSplit(TrainingSets(forget=[]), {"probes": [LONG, asked]}), tiny_tokenizer(), "auto") == []
    )


@pytest.mark.parametrize(
    ("trains", "names", "words"),
    [
        ([LONG, SHORT], {"forget", "retain"}, "retain, file 2: record 2 is too short"),
        ([MUTE], {"forget", "retain"}, "forget: record 3 is too short"),
        ([LONG, SHORT], {"forget"}, None),  # a method that does not read it
        ([LONG], {"forget", "retain"}, None),  # the half that measures
    ],
)
def test_what_would_train_is_named_by_set_and_number_and_not_by_text(
    trains: list[Record], names: set[str], words: str | None
) -> None:
    sets = [
        RecordSet.model_construct(name="retain", records=[LONG]),
        RecordSet.model_construct(name="forget", records=[LONG, LONG, MUTE]),
        RecordSet.model_construct(name="retain", records=[LONG, SHORT]),
    ]
    if words is None:
        refuse_unscorable(sets, names, trains, BARE, "raw")
        return
    with pytest.raises(CoreError, match=words) as refused:
        refuse_unscorable(sets, names, trains, BARE, "raw")
    assert refused.value.code == "no_scored_tokens"
    assert "w7" not in str(refused.value)
    assert "w8" not in str(refused.value)
