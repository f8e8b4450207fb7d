"""Which records train or calibrate and which only measure: no record of retain, unseen or general does both."""

from dataclasses import dataclass, field

from core.lm.split import split
from core.pipeline.containment import Containment
from core.schema.evaluation import SetName
from core.schema.job_spec import RecordSet
from core.schema.record import Record
from core.unlearning.step_plan import TrainingSets


@dataclass
class DataSplit:
    """`training` for the trainer, `measuring` for the suite. The forget set is in both, by design."""

    training: TrainingSets
    measuring: dict[SetName, list[Record]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    """What was left out, in counts."""


def split_sets(sets: list[RecordSet]) -> DataSplit:
    """Cuts every set but forget in two, the same way for ever. Retained `general` text is measured as general.

    Files of one set are cut as one, so that a subject who is in two of them is in one half only. But what only trains
    beside a pinned file is cut by itself, so that it cannot move which of the pinned records measure. A text that must
    be forgotten is neither held on to nor a yardstick, so it counts in the forget set alone, as does a text around it
    or out of it; a text that trains in one set measures in none, except that pinned and unseen text measures, and
    trains in none.
    """
    parts = DataSplit(TrainingSets(forget=[]))
    for one in sets:
        if one.name == "forget":
            parts.training.forget += one.records
            parts.measuring.setdefault("forget", []).extend(one.records)
    name: SetName
    for name in ("retain", "unseen", "general"):
        of_name = [one for one in sets if _measured_as(one) == name]
        if measuring := [one for one in of_name if one.part != "trains"]:
            parts.measuring[name] = _halves(measuring, name, parts.training)
        if only_train := [one for one in of_name if one.part == "trains"]:
            _halves(only_train, name, parts.training)
    asked: SetName
    for asked in ("probes", "protected"):
        if found := [record for one in sets if one.name == asked for record in one.records]:
            parts.measuring[asked] = found
    pinned: set[SetName] = {_measured_as(one) for one in sets if one.part == "trains"}
    _leave_out(parts, pinned | {"unseen"})
    return parts


def _halves(together: list[RecordSet], name: SetName, training: TrainingSets) -> list[Record]:
    """The half that measures; the other one goes into the training where it may."""
    whole = [record for one in together for record in one.records]
    trains, measures = split(whole, purpose=name)
    places, first = set(trains), 0
    for one in together:
        chosen = [record for place, record in enumerate(one.records, start=first) if place in places]
        first += len(one.records)
        if one.name == "unseen" and one.part != "measures":
            training.unseen += chosen
        elif one.name == "retain":
            training.retain.append(one.model_copy(update={"records": chosen}))
        # a set `general` that is not among the retain sets only measures; its other half stays untouched, so
        # that using it to train in a later job does not change what is measured
    return [whole[place] for place in measures]


def _leave_out(parts: DataSplit, first: set[SetName]) -> None:
    """Takes out of the halves what belongs elsewhere; what `first` measure does so rather than train. After the cut,
    which what is left out shall not move."""
    forget = {_content(record) for record in parts.training.forget}
    measure = {_content(record) for name in first for record in parts.measuring.get(name, [])}
    overlapping = Containment(parts.training.forget)
    for one in parts.training.retain:
        what = f"trains in {_measured_as(one)}"
        one.records = _apart(_without(one.records, forget | measure, parts, what), overlapping, parts, what)
    unseen = _without(parts.training.unseen, forget | measure, parts, "calibrates in unseen")
    parts.training.unseen = _apart(unseen, overlapping, parts, "calibrates in unseen")
    trains = {_content(record) for one in parts.training.retain for record in one.records}
    trains |= {_content(record) for record in parts.training.unseen}
    for name, records in parts.measuring.items():
        if name not in ("forget", "probes"):
            what = f"measures in {name}"
            parts.measuring[name] = _apart(_without(records, forget | trains, parts, what), overlapping, parts, what)


def _without(records: list[Record], elsewhere: set[tuple[str, ...]], parts: DataSplit, what: str) -> list[Record]:
    kept = [record for record in records if _content(record) not in elsewhere]
    if len(kept) < len(records):
        count = len(records) - len(kept)
        parts.warnings.append(
            f"{count} of {len(records)} records left out of what {what}: their text is in another part"
        )
    return kept


def _apart(records: list[Record], forget: Containment, parts: DataSplit, what: str) -> list[Record]:
    """The records that neither hold a text that must be forgotten nor are held by one."""
    places = set(forget.overlapping(records))
    if places:
        parts.warnings.append(
            f"{len(places)} of {len(records)} records left out of what {what}: they contain a record of the forget set,"
            " or are contained in one"
        )
    return [record for place, record in enumerate(records) if place not in places]


def _content(record: Record) -> tuple[str, ...]:
    """Its own text: the same under another id or subject, or asked about with other probes, is the same text."""
    return tuple(text.strip() for text in record.texts())


def _measured_as(one: RecordSet) -> SetName:
    return "general" if one.kind == "general" else one.name
