"""The training halves influence no figure: a job of kind measure, with other records in those halves."""

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

SMALL_VERSIONS = [
    {"name": "exposure", "records": 3},
    {"name": "cloze", "records": 3},
    {"name": "cloze_fill", "records": 3},
    {"name": "verbatim", "records": 3},
    {"name": "verbatim_retain", "records": 3},
    {"name": "sampled_leak", "records": 3},
    {"name": "prefix", "records": 3},
    {"name": "fluency", "records": 3},
    {"name": "gradnorm", "records": 3},
    {"name": "relearned", "attacks": ["forget", "retain", "unrelated"], "records": 3, "shown": 2, "steps": 2},
]
"""Smaller versions of slow measurements, beside all others of the standard and the thorough group."""


def replace_training_half(records: list[Record], purpose: SetName, others: list[Record]) -> list[Record]:
    """Replaces the records that do not measure by mismatched prompts and answers of `others`.

    Subjects stay, so that all records stay in their halves.
    """
    training, _ = split(records, purpose=purpose)
    changed = list(records)
    for number, index in enumerate(training):
        prompt, completion = others[number].prompt, others[number - 1].completion
        changed[index] = Record(prompt=prompt, completion=completion, subject=records[index].subject)
    return changed


def figures(spec: UnlearnSpec, sets: dict[SetName, list[Record]], folder: Path) -> Measurements:
    folder.mkdir()
    files = {name: folder / f"{name}.jsonl" for name in sets}
    for name, records in sets.items():
        write_jsonl(records, files[name])
    source = FileRecords(
        forget=files["forget"], retain=[files["retain"]], unseen=files["unseen"], only_general=files["general"]
    )
    job = MeasureSpec.from_spec(spec, records=source, measure=["thorough", *SMALL_VERSIONS])
    events: list[ChildEvent] = []
    Run(job, events.append, lambda: False, lambda: False, began=time.monotonic())()
    (measured,) = (event.measurements for event in events if isinstance(event, Measured))
    return measured.model_copy(update={"seconds": 0, "seconds_of": {}})


def test_other_records_and_answers_in_the_training_halves_change_no_figure(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    sets: dict[SetName, list[Record]] = {
        "forget": tiny_model.sets["forget"],
        "retain": people(16, 80, form="prompt"),
        "unseen": people(24, 81, form="prompt"),
        "general": [
            record.model_copy(update={"subject": str(index)}) for index, record in enumerate(general_sentences(8, 1))
        ],
    }
    changed = dict(sets)
    names: tuple[SetName, ...] = ("retain", "unseen", "general")
    for seed, name in enumerate(names):
        changed[name] = replace_training_half(sets[name], name, people(12, 90 + seed, form="prompt"))
        assert split(changed[name], purpose=name) == split(sets[name], purpose=name)
        assert changed[name] != sets[name]
    original = figures(spec, sets, tmp_path / "original")
    assert {"forget", "retain", "unseen", "general"} <= set(original.sets)
    assert {"exposure_rank", "cloze", "cloze_fill", "verbatim_recall"} <= set(original.sets["forget"])
    assert {"relearned_forget", "relearned_unrelated"} <= set(original.curves)
    assert figures(spec, changed, tmp_path / "changed") == original
