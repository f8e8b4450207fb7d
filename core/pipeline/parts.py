"""Which records train or calibrate and which only measure: no record of retain, unseen or general does both."""

from dataclasses import dataclass, field

from core.lm.split import split
from core.schema.evaluation import SetName
from core.schema.files import Record
from core.schema.spec import RecordSet
from core.unlearning.plan import Sets


@dataclass
class Parts:
    """`training` for the trainer, `measuring` for the suite. The forget set is in both, by design."""

    training: Sets
    measuring: dict[SetName, list[Record]] = field(default_factory=dict)


def cut(sets: list[RecordSet]) -> Parts:
    """Cuts every set but forget in two, the same way for ever. Retained `general` text is measured as general.

    Files of one set are cut as one, so that a subject who is in two of them is in one half only.
    """
    parts = Parts(Sets(forget=[]))
    for one in sets:
        if one.name == "forget":
            parts.training.forget += one.records
            parts.measuring.setdefault("forget", []).extend(one.records)
    name: SetName
    for name in ("retain", "unseen", "general"):
        of_name = [one for one in sets if _measured_as(one) == name]
        if not of_name:
            continue
        whole = [record for one in of_name for record in one.records]
        trains, measures = split(whole, purpose=name)
        training, first = set(trains), 0
        for one in of_name:
            places = range(first, first + len(one.records))
            first = places.stop
            chosen = [record for place, record in zip(places, one.records, strict=True) if place in training]
            if one.name == "unseen":
                parts.training.unseen += chosen
            elif one.name == "retain":
                parts.training.retain.append(one.model_copy(update={"records": chosen}))
            # a set `general` that is not among the retain sets only measures; its other half stays untouched, so
            # that using it to train in a later job does not change what is measured
        parts.measuring[name] = [whole[place] for place in measures]
    return parts


def _measured_as(one: RecordSet) -> SetName:
    return "general" if one.kind == "general" else one.name
