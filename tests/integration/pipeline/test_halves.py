"""The halves that train or calibrate decide on no figure: a whole job of kind measure, with others in their place."""

import time
from pathlib import Path

from core.demo.people import general_sentences, people, write_jsonl
from core.lm.split import split
from core.pipeline.run import Run
from core.schema.evaluation import Measurements, SetName
from core.schema.events import ChildEvent, Measured
from core.schema.job_spec import FileRecords, MeasureSpec, UnlearnSpec
from core.schema.record import Record
from tests.tiny_model import TinyModel

SLOW = [
    {"name": "exposure", "records": 3},
    {"name": "cloze", "records": 3},
    {"name": "cloze_fill", "records": 3},
    {"name": "verbatim", "records": 3},
    {"name": "verbatim_retain", "records": 3},
    {"name": "sampled_leak", "records": 3},
    {"name": "prefix", "records": 3},
    {"name": "fluency", "records": 3},
    {"name": "gradnorm", "records": 3},
    {"name": "relearned", "records": 3, "shown": 2, "steps": 2},
]
"""Less of what is slow: the standard and the thorough group are measured whole."""


def others_in_the_calibrating_half(records: list[Record], purpose: SetName, others: list[Record]) -> list[Record]:
    """The same subjects, so that all stay in their halves; but those that do not measure say what others do: the text
    before is one's and the label, the answer, another's."""
    calibrating, _ = split(records, purpose=purpose)
    changed = list(records)
    for number, place in enumerate(calibrating):
        asked, answered = others[number], others[number - 1]
        changed[place] = Record(prompt=asked.prompt, completion=answered.completion, subject=records[place].subject)
    return changed


def figures(spec: UnlearnSpec, sets: dict[SetName, list[Record]], folder: Path) -> Measurements:
    folder.mkdir()
    files = {name: folder / f"{name}.jsonl" for name in sets}
    for name, records in sets.items():
        write_jsonl(records, files[name])
    source = FileRecords(
        forget=files["forget"], retain=[files["retain"]], unseen=files["unseen"], only_general=files["general"]
    )
    asked = MeasureSpec.from_spec(spec, records=source, measure=["thorough", *SLOW])
    events: list[ChildEvent] = []
    Run(asked, events.append, lambda: False, lambda: False, began=time.monotonic())()
    (measured,) = (event.measurements for event in events if isinstance(event, Measured))
    return measured.model_copy(update={"seconds": 0, "seconds_of": {}})


def test_other_records_and_labels_in_the_calibrating_halves_change_no_figure(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    sets: dict[SetName, list[Record]] = {
        "forget": tiny_model.sets["forget"],
        "retain": people(16, 80, form="prompt"),
        "unseen": people(24, 81, form="prompt"),
        "general": [
            one.model_copy(update={"subject": str(place)}) for place, one in enumerate(general_sentences(8, 1))
        ],
    }
    changed = dict(sets)
    names: tuple[SetName, ...] = ("retain", "unseen", "general")
    for seed, name in enumerate(names):
        changed[name] = others_in_the_calibrating_half(sets[name], name, people(12, 90 + seed, form="prompt"))
        assert split(changed[name], purpose=name) == split(sets[name], purpose=name)
        assert changed[name] != sets[name]
    found = figures(spec, sets, tmp_path / "one")
    assert {"forget", "retain", "unseen", "general"} <= set(found.sets)
    assert {"exposure_rank", "cloze", "cloze_fill", "verbatim_recall"} <= set(found.sets["forget"])
    assert {"relearned_forget", "relearned_unrelated"} <= set(found.curves)
    assert figures(spec, changed, tmp_path / "two") == found
