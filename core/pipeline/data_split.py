"""The split of a job's records into training and measuring: no record of retain, unseen or general is in both."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.lm.split import split
from core.pipeline.containment import Containment
from core.schema.evaluation import SetName
from core.schema.job_spec import RecordSet
from core.schema.record import Record
from core.unlearning.step_plan import TrainingSets


@dataclass
class DataSplit:
    """The records for the trainer and for the measurements. The forget set is in both, by design."""

    training: TrainingSets
    measuring: dict[SetName, list[Record]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    """The records left out, in counts."""


def split_sets(sets: list[RecordSet], earlier: Sequence[RecordSet] = ()) -> DataSplit:
    """Halves every set but forget, the same way for ever. Retain sets of `general` text are measured as general.

    Files of one set are halved together, so that a subject who is in two of them is in one half only. A file that only
    trains beside a pinned file is halved by itself, so that it cannot change which pinned records measure.

    Then records are left out. A text of the forget set, a text that contains one and a text within one stay in the
    forget set alone: no other set trains on them, and none but `probes` measures them. A text that trains in one set
    measures in no set. Pinned and unseen texts are the exception: they measure, and train in no set.
    All records of `earlier` requests are left out like those of the forget set, measured again or not: training on them
    would bring them back. Where such text is deleted or unreadable, the records that the worker found by their digests
    (`RecordSet.forgotten`) are left out instead, with the records that contain one or are contained in one.
    """
    data = DataSplit(TrainingSets(forget=[]))
    for records in sets:
        if records.name == "forget":
            data.training.forget += records.records
            data.measuring.setdefault("forget", []).extend(records.records)
    name: SetName
    for name in ("retain", "unseen", "general"):
        named = [records for records in sets if _measured_as(records) == name]
        if measuring := [records for records in named if records.part != "trains"]:
            data.measuring[name] = _halve(measuring, name, data.training)
        if only_training := [records for records in named if records.part == "trains"]:
            _halve(only_training, name, data.training)
    for name in ("probes", "protected"):
        if own_records := [record for records in sets if records.name == name for record in records.records]:
            data.measuring[name] = own_records
    pinned: set[SetName] = {_measured_as(records) for records in sets if records.part == "trains"}
    forgotten = [record for records in earlier for record in records.records]
    forgotten += [records.records[place] for records in sets for place in records.forgotten or []]
    _leave_out(data, pinned | {"unseen"}, forgotten)
    return data


def _halve(files: list[RecordSet], name: SetName, training: TrainingSets) -> list[Record]:
    """Returns the measuring half of the files, and adds the other half to `training` where it may train."""
    together = [record for records in files for record in records.records]
    trains, measures = split(together, purpose=name)
    training_indices, first = set(trains), 0
    for records in files:
        half = [record for index, record in enumerate(records.records, start=first) if index in training_indices]
        first += len(records.records)
        if records.name == "unseen" and records.part != "measures":
            training.unseen += half
        elif records.name == "retain":
            training.retain.append(records.model_copy(update={"records": half}))
        # a set `general` outside of the retain sets only measures; its other half stays unused, so that a later job
        # that trains on it measures the same records
    return [together[index] for index in measures]


def _leave_out(data: DataSplit, measuring_first: set[SetName], forgotten: list[Record]) -> None:
    """Leaves out records that are in several parts; texts that measure in `measuring_first` do not train.

    `forgotten` records count as records of the forget set.

    Runs after halving, so that records left out do not change the halves.
    """
    forget = {record.normal_text() for record in (*data.training.forget, *forgotten)}
    measures = {record.normal_text() for name in measuring_first for record in data.measuring.get(name, [])}
    containment = Containment([*data.training.forget, *forgotten])
    owner = "the forget set or of an earlier one" if forgotten else "the forget set"

    def kept(records: list[Record], elsewhere: set[str], use: str) -> list[Record]:
        return _without_containment(_without(records, elsewhere, data, use), containment, owner, data, use)

    for retain in data.training.retain:
        retain.records = kept(retain.records, forget | measures, f"trains in {_measured_as(retain)}")
    data.training.unseen = kept(data.training.unseen, forget | measures, "calibrates in unseen")
    trains = {record.normal_text() for retain in data.training.retain for record in retain.records}
    trains |= {record.normal_text() for record in data.training.unseen}
    for name, records in data.measuring.items():
        if name not in ("forget", "probes"):
            data.measuring[name] = kept(records, forget | trains, f"measures in {name}")


def _without(records: list[Record], elsewhere: set[str], data: DataSplit, use: str) -> list[Record]:
    """The records whose text is not in another part."""
    kept = [record for record in records if record.normal_text() not in elsewhere]
    if len(kept) < len(records):
        count = len(records) - len(kept)
        data.warnings.append(f"{count} of {len(records)} records left out of what {use}: their text is in another part")
    return kept


def _without_containment(
    records: list[Record], forget: Containment, owner: str, data: DataSplit, use: str
) -> list[Record]:
    """The records that neither contain a text to forget nor are contained in one; `owner` is its set, in words."""
    overlapping = set(forget.overlapping(records))
    if overlapping:
        data.warnings.append(
            f"{len(overlapping)} of {len(records)} records left out of what {use}: they contain a record of {owner}, or"
            " are contained in one"
        )
    return [record for index, record in enumerate(records) if index not in overlapping]


def _measured_as(records: RecordSet) -> SetName:
    return "general" if records.kind == "general" else records.name
