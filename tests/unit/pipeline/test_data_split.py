"""No record of retain, unseen or general both trains and measures; the forget set does both, by design."""

from core.pipeline.data_split import split_sets
from core.schema.job_spec import RecordSet
from core.schema.record import Record


def records(name: str, count: int, first: int = 0) -> list[Record]:
    return [Record(text=f"{name} {number}", subject=f"person {number}") for number in range(first, first + count)]


def texts(found: list[Record]) -> set[str | None]:
    return {record.text for record in found}


def test_forget_trains_and_measures_and_every_other_record_does_one_of_both() -> None:
    sets = [
        RecordSet(name="forget", records=records("forget", 5)),
        RecordSet(name="retain", kind="in_distribution", weight=2.0, records=records("retain", 20)),
        RecordSet(name="retain", kind="general", records=records("general", 20)),
        RecordSet(name="unseen", records=records("unseen", 20)),
    ]
    parts = split_sets(sets)
    assert texts(parts.training.forget) == texts(parts.measuring["forget"]) == texts(sets[0].records)
    retain, general = parts.training.retain
    assert (retain.kind, retain.weight, general.kind) == ("in_distribution", 2.0, "general")
    pairs = [(retain.records, "retain"), (general.records, "general"), (parts.training.unseen, "unseen")]
    for (trains, name), whole in zip(pairs, sets[1:], strict=True):
        measures = parts.measuring[name]  # type: ignore[index]
        assert not texts(trains) & texts(measures)
        assert texts(trains) | texts(measures) == texts(whole.records)
        assert len(trains) == len(measures) == 10


def test_a_subject_in_two_files_is_in_one_half_only() -> None:
    sets = [RecordSet(name="retain", kind="in_distribution", records=records(f"file {file}", 30)) for file in (1, 2)]
    parts = split_sets(sets)
    trains = {record.subject for one in parts.training.retain for record in one.records}
    measures = {record.subject for record in parts.measuring["retain"]}
    assert not trains & measures
    assert len(trains | measures) == 30
    # the records of each file still go to the retain set they came with
    assert [{record.text.split(" ")[1] for record in one.records if record.text} for one in parts.training.retain] == [
        {"1"},
        {"2"},
    ]


def test_a_text_that_must_be_forgotten_is_in_no_other_set_and_is_said_to_have_been() -> None:
    forget = [Record(text=f"{record.text} ", id="1") for record in records("retain", 6)]
    whole = RecordSet(name="retain", kind="in_distribution", records=records("retain", 20))
    unseen = RecordSet(name="unseen", records=records("retain", 4, first=4))
    parts = split_sets([RecordSet(name="forget", records=forget), whole, unseen])
    alone = split_sets([whole])
    trains = texts(parts.training.retain[0].records)
    assert not {f"retain {number}" for number in range(6)} & (trains | texts(parts.measuring["retain"]))
    assert len(trains | texts(parts.measuring["retain"]) | texts(parts.training.unseen)) == 14
    assert trains <= texts(alone.training.retain[0].records)  # nothing has moved into the other half
    assert any("left out of what trains in retain" in warning for warning in parts.warnings)
    assert len(parts.measuring["forget"]) == 6
    assert not alone.warnings


def test_a_text_that_trains_in_one_set_measures_in_no_other() -> None:
    held = RecordSet(name="retain", kind="in_distribution", records=records("text", 40))
    parts = split_sets([held, RecordSet(name="general", records=records("text", 40))])
    trains = texts(parts.training.retain[0].records)
    assert len(trains) == 20
    assert not trains & texts(parts.measuring["general"])
    assert parts.measuring["general"]


def test_a_record_that_is_asked_about_with_other_probes_is_the_same_text() -> None:
    forget = [Record(prompt="Who?", completion="Ana", wrong=["Bo"])]
    retain = [Record(prompt="Who?", completion="Ana", alternate="nobody"), *records("retain", 3)]
    parts = split_sets(
        [
            RecordSet(name="forget", records=forget),
            RecordSet(name="retain", kind="in_distribution", records=retain),
        ]
    )
    held = [*parts.training.retain[0].records, *parts.measuring["retain"]]
    assert len(held) == 3
    assert all(record.prompt is None for record in held)


def test_beside_a_pinned_file_the_requests_own_trains_and_moves_nothing_of_what_measures() -> None:
    pinned = RecordSet(name="unseen", records=records("pinned", 21))
    own = RecordSet(name="unseen", part="trains", records=records("own", 10))
    alone = split_sets([pinned])
    parts = split_sets([own, pinned.model_copy(update={"part": "measures"})])
    assert parts.measuring == alone.measuring
    assert len(parts.training.unseen) == 5
    assert texts(parts.training.unseen) < texts(own.records)
    general = RecordSet(name="general", records=records("pinned", 21))
    held = RecordSet(name="retain", kind="general", part="trains", records=records("own", 10))
    both = split_sets([held, general])
    assert both.measuring == split_sets([general]).measuring
    assert len(both.training.retain[0].records) == 5


def test_pinned_text_measures_even_where_a_request_would_train_on_it() -> None:
    pinned = RecordSet(name="unseen", part="measures", records=records("pinned", 40))
    yardstick = texts(split_sets([pinned]).measuring["unseen"])
    copied = [Record(text=record.text, subject=None) for record in pinned.records]
    own = RecordSet(name="unseen", part="trains", records=copied)
    retain = RecordSet(name="retain", kind="in_distribution", records=copied)
    parts = split_sets([own, pinned, retain])
    assert texts(parts.measuring["unseen"]) == yardstick
    for trains in (parts.training.unseen, parts.training.retain[0].records):
        assert trains
        assert not texts(trains) & yardstick


def test_a_text_around_one_that_must_be_forgotten_is_in_no_other_set_and_is_counted() -> None:
    secret = "Zorvek Halmi was born in Pell and works as a cooper"
    around = [Record(text=f"Entry {number} of the register says that {secret}, no more.") for number in range(12)]
    retain = RecordSet(name="retain", kind="in_distribution", records=[*records("retain", 14), *around[:6]])
    unseen = RecordSet(name="unseen", records=[*records("unseen", 14), *around[6:]])
    parts = split_sets([RecordSet(name="forget", records=[Record(text=secret)]), retain, unseen])
    kept = [record for one in parts.training.retain for record in one.records] + parts.training.unseen
    kept += parts.measuring["retain"] + parts.measuring["unseen"]
    assert len(kept) == 28
    assert not [record for record in kept if secret in (record.text or "")]
    said = [warning for warning in parts.warnings if warning.endswith("forget set, or are contained in one")]
    assert sum(int(warning.split(" ")[0]) for warning in said) == 12
    assert any("of what trains in retain: they contain a record" in warning for warning in said)
