"""No record of retain, unseen or general both trains and measures; the forget set does both, by design."""

from core.pipeline.data_split import split_sets
from core.schema.job_spec import RecordSet
from core.schema.record import Record


def records(name: str, count: int, first: int = 0) -> list[Record]:
    return [Record(text=f"{name} {number}", subject=f"person {number}") for number in range(first, first + count)]


def texts(records: list[Record]) -> set[str | None]:
    return {record.text for record in records}


def test_forget_records_train_and_measure_and_every_other_record_does_one() -> None:
    sets = [
        RecordSet(name="forget", records=records("forget", 5)),
        RecordSet(name="retain", kind="in_distribution", weight=2.0, records=records("retain", 20)),
        RecordSet(name="retain", kind="general", records=records("general", 20)),
        RecordSet(name="unseen", records=records("unseen", 20)),
    ]
    data = split_sets(sets)
    assert texts(data.training.forget) == texts(data.measuring["forget"]) == texts(sets[0].records)
    retain, general = data.training.retain
    assert (retain.kind, retain.weight, general.kind) == ("in_distribution", 2.0, "general")
    pairs = [(retain.records, "retain"), (general.records, "general"), (data.training.unseen, "unseen")]
    for (trains, name), whole in zip(pairs, sets[1:], strict=True):
        measures = data.measuring[name]  # type: ignore[index]
        assert not texts(trains) & texts(measures)
        assert texts(trains) | texts(measures) == texts(whole.records)
        assert len(trains) == len(measures) == 10


def test_a_subject_in_two_files_is_in_one_half_only() -> None:
    sets = [RecordSet(name="retain", kind="in_distribution", records=records(f"file {file}", 30)) for file in (1, 2)]
    data = split_sets(sets)
    trains = {record.subject for retain in data.training.retain for record in retain.records}
    measures = {record.subject for record in data.measuring["retain"]}
    assert not trains & measures
    assert len(trains | measures) == 30
    # the records of each file stay in their own retain set
    assert [
        {record.text.split(" ")[1] for record in retain.records if record.text} for retain in data.training.retain
    ] == [{"1"}, {"2"}]


def test_a_forget_text_is_left_out_of_all_other_sets_with_a_warning() -> None:
    forget = [Record(text=f"{record.text} ", id="1") for record in records("retain", 6)]
    whole = RecordSet(name="retain", kind="in_distribution", records=records("retain", 20))
    unseen = RecordSet(name="unseen", records=records("retain", 4, first=4))
    data = split_sets([RecordSet(name="forget", records=forget), whole, unseen])
    alone = split_sets([whole])
    trains = texts(data.training.retain[0].records)
    assert not {f"retain {number}" for number in range(6)} & (trains | texts(data.measuring["retain"]))
    assert len(trains | texts(data.measuring["retain"]) | texts(data.training.unseen)) == 14
    assert trains <= texts(alone.training.retain[0].records)  # no record has changed its half
    assert any("left out of what trains in retain" in warning for warning in data.warnings)
    assert len(data.measuring["forget"]) == 6
    assert not alone.warnings


def test_a_text_that_trains_in_one_set_measures_in_no_other() -> None:
    retain = RecordSet(name="retain", kind="in_distribution", records=records("text", 40))
    data = split_sets([retain, RecordSet(name="general", records=records("text", 40))])
    trains = texts(data.training.retain[0].records)
    assert len(trains) == 20
    assert not trains & texts(data.measuring["general"])
    assert data.measuring["general"]


def test_records_that_differ_in_probes_only_are_the_same_text() -> None:
    forget = [Record(prompt="Who?", completion="Ana", wrong=["Bo"])]
    retain = [Record(prompt="Who?", completion="Ana", alternate="nobody"), *records("retain", 3)]
    data = split_sets(
        [
            RecordSet(name="forget", records=forget),
            RecordSet(name="retain", kind="in_distribution", records=retain),
        ]
    )
    kept = [*data.training.retain[0].records, *data.measuring["retain"]]
    assert len(kept) == 3
    assert all(record.prompt is None for record in kept)


def test_a_requests_own_file_trains_and_changes_no_measuring_record_of_a_pinned_file() -> None:
    pinned = RecordSet(name="unseen", records=records("pinned", 21))
    own = RecordSet(name="unseen", part="trains", records=records("own", 10))
    alone = split_sets([pinned])
    data = split_sets([own, pinned.model_copy(update={"part": "measures"})])
    assert data.measuring == alone.measuring
    assert len(data.training.unseen) == 5
    assert texts(data.training.unseen) < texts(own.records)
    general = RecordSet(name="general", records=records("pinned", 21))
    retain = RecordSet(name="retain", kind="general", part="trains", records=records("own", 10))
    both = split_sets([retain, general])
    assert both.measuring == split_sets([general]).measuring
    assert len(both.training.retain[0].records) == 5


def test_pinned_text_measures_even_where_a_request_would_train_on_it() -> None:
    pinned = RecordSet(name="unseen", part="measures", records=records("pinned", 40))
    measuring = texts(split_sets([pinned]).measuring["unseen"])
    copied = [Record(text=record.text, subject=None) for record in pinned.records]
    own = RecordSet(name="unseen", part="trains", records=copied)
    retain = RecordSet(name="retain", kind="in_distribution", records=copied)
    data = split_sets([own, pinned, retain])
    assert texts(data.measuring["unseen"]) == measuring
    for trains in (data.training.unseen, data.training.retain[0].records):
        assert trains
        assert not texts(trains) & measuring


def test_texts_around_a_forget_text_are_left_out_of_all_other_sets_and_counted() -> None:
    secret = "Zorvek Halmi was born in Pell and works as a cooper"
    around = [Record(text=f"Entry {number} of the register says that {secret}, no more.") for number in range(12)]
    retain = RecordSet(name="retain", kind="in_distribution", records=[*records("retain", 14), *around[:6]])
    unseen = RecordSet(name="unseen", records=[*records("unseen", 14), *around[6:]])
    data = split_sets([RecordSet(name="forget", records=[Record(text=secret)]), retain, unseen])
    kept = [record for retain_set in data.training.retain for record in retain_set.records] + data.training.unseen
    kept += data.measuring["retain"] + data.measuring["unseen"]
    assert len(kept) == 28
    assert not [record for record in kept if secret in (record.text or "")]
    messages = [warning for warning in data.warnings if warning.endswith("forget set, or are contained in one")]
    assert sum(int(warning.split(" ")[0]) for warning in messages) == 12
    assert any("of what trains in retain: they contain a record" in warning for warning in messages)


def test_texts_of_earlier_requests_neither_train_nor_measure_in_other_sets() -> None:
    secret = "Zorvek Halmi was born in Pell and works as a cooper"
    retain = RecordSet(name="retain", kind="in_distribution", records=[*records("retain", 14), Record(text=secret)])
    around = [Record(text=f"Entry {number} of the register says that {secret}, no more.") for number in range(6)]
    unseen = RecordSet(name="unseen", records=[*records("unseen", 14), *around])
    forget = RecordSet(name="forget", records=records("forget", 2))
    earlier = RecordSet(name="forget", earlier="job-1", positions=[], records=[Record(text=secret)])
    data = split_sets([forget, retain, unseen], [earlier])
    others = [record for retain_set in data.training.retain for record in retain_set.records] + data.training.unseen
    others += data.measuring["retain"] + data.measuring["unseen"]
    assert texts(others) == texts([*records("retain", 14), *records("unseen", 14)])
    assert texts(data.training.forget) == texts(data.measuring["forget"]) == texts(forget.records)
    assert any("of the forget set or of an earlier one" in warning for warning in data.warnings)


def test_records_that_digests_tell_to_be_forgotten_are_left_out_like_forget_texts() -> None:
    retain = RecordSet(name="retain", kind="in_distribution", records=records("retain", 20))
    retain.records[8] = Record(text=f"Once more the whole of {retain.records[3].text} is told to all who hear")
    marked = retain.model_copy(update={"forgotten": [3, 4]})
    forget = RecordSet(name="forget", records=records("forget", 5))
    without, data = split_sets([forget, retain]), split_sets([forget, marked])
    everywhere = texts(without.training.retain[0].records) | texts(without.measuring["retain"])
    left = texts(data.training.retain[0].records) | texts(data.measuring["retain"])
    assert {"retain 3", "retain 4"} <= everywhere - left
    assert any("left out of what" in warning for warning in data.warnings)
    assert texts(data.training.forget) == texts(forget.records)


def test_texts_that_copying_changed_are_the_same_text() -> None:
    forget = RecordSet(name="forget", records=[Record(text="Zoë Müller")])
    variants = ["ZOE\u0308 MU\u0308LLER", "Zoë\r\nMüller ", "Zoë\u00a0Mül\u00adler"]
    others = [*(Record(text=variant, subject=variant) for variant in variants), *records("kept", 4)]
    data = split_sets([forget, RecordSet(name="retain", records=others)])
    everywhere = texts(data.training.retain[0].records) | texts(data.measuring["retain"])
    assert everywhere == texts(records("kept", 4))
