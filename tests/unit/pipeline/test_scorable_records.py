"""Records without a token to score: refused where they would train, dropped where they would measure."""

import pytest

from core.lm.errors import CoreError
from core.pipeline.data_split import DataSplit
from core.pipeline.scorable_records import drop_unscorable, refuse_unscorable
from core.schema.job_spec import RecordSet
from core.schema.record import Record
from core.unlearning.step_plan import TrainingSets
from tests.unit.lm.tiny import tiny_tokenizer

BARE = tiny_tokenizer("$A")
"""Adds no first token, so that a text of a single token has no scored token."""

LONG, SHORT, TOO_SHORT = Record(text="w0 w1 w2"), Record(text="w7"), Record(text="w8")


def test_records_without_a_token_to_score_are_dropped_and_counted() -> None:
    data = DataSplit(TrainingSets(forget=[]))
    data.measuring = {"forget": [SHORT, LONG, TOO_SHORT], "unseen": [SHORT], "retain": [LONG]}
    assert drop_unscorable(data, BARE, "auto") == [
        "forget: 2 records have no token to score and are not measured",
        "unseen: 1 record has no token to score and is not measured",
    ]
    assert data.measuring == {"forget": [LONG], "unseen": [], "retain": [LONG]}


def test_other_answers_without_a_token_to_score_are_dropped_and_counted() -> None:
    probe = LONG.model_copy(update={"wrong": ["w3", "w4 w5", "w6"], "paraphrased_answer": "w1"})
    data = DataSplit(TrainingSets(forget=[]), {"probes": [LONG, probe]})
    assert drop_unscorable(data, BARE, "auto") == [
        "probes: 3 other answers have no token to score and are not asked for"
    ]
    assert data.measuring == {"probes": [LONG, LONG.model_copy(update={"wrong": ["w4 w5"]})]}
    assert (
        drop_unscorable(DataSplit(TrainingSets(forget=[]), {"probes": [LONG, probe]}), tiny_tokenizer(), "auto") == []
    )


@pytest.mark.parametrize(
    ("trains", "names", "words"),
    [
        ([LONG, SHORT], {"forget", "retain"}, "retain, file 2: record 2 is too short"),
        ([TOO_SHORT], {"forget", "retain"}, "forget: record 3 is too short"),
        ([LONG, SHORT], {"forget"}, None),  # the method does not use the set
        ([LONG], {"forget", "retain"}, None),  # the record is in the measuring half
    ],
)
def test_a_refused_training_record_is_named_by_set_and_number_without_its_text(
    trains: list[Record], names: set[str], words: str | None
) -> None:
    sets = [
        RecordSet.model_construct(name="retain", records=[LONG]),
        RecordSet.model_construct(name="forget", records=[LONG, LONG, TOO_SHORT]),
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
