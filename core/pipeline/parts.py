"""Which records train or calibrate and which only measure: no record of retain, unseen or general does both."""

from dataclasses import dataclass, field

from core.lm.split import split
from core.schema.evaluation import SetName
from core.schema.files import Record
from core.schema.spec import RecordSet
from core.unlearning.trainer import Sets


@dataclass
class Parts:
    """`training` for the trainer, `measuring` for the suite. The forget set is in both, by design."""

    training: Sets
    measuring: dict[SetName, list[Record]] = field(default_factory=dict)


def cut(sets: list[RecordSet]) -> Parts:
    """Cuts every set but forget in two, the same way for ever. Retained `general` text is measured as general."""
    parts = Parts(Sets(forget=[]))
    for one in sets:
        if one.name == "forget":
            parts.training.forget += one.records
            parts.measuring.setdefault("forget", []).extend(one.records)
            continue
        name: SetName = "general" if one.kind == "general" else one.name
        trains, measures = split(one.records, purpose=name)
        chosen = [one.records[index] for index in trains]
        if one.name == "unseen":
            parts.training.unseen += chosen
        elif one.name == "retain":
            parts.training.retain.append(one.model_copy(update={"records": chosen}))
        # a set `general` that is not among the retain sets only measures; its other half stays untouched, so that
        # using it to train in a later job does not change what is measured
        parts.measuring.setdefault(name, []).extend(one.records[index] for index in measures)
    return parts
