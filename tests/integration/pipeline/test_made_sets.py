"""Jobs that bring nothing but the records to forget: the sets that they make, and the verdict that they get."""

from pathlib import Path
from typing import Any

from core.demo.people import write_jsonl
from core.lm.companion_files import CARD
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.events import Judged, Measured, SetsMade, Warned
from core.schema.job_spec import ChildMethod, FileRecords, UnlearnSpec
from core.schema.jobs import SetUsed
from core.schema.record import Record
from tests.integration.pipeline.child import Outcome, run
from tests.tiny_model import TinyModel

PROSE = "what cannot be said must be passed over in silence, and what can be said at all can be said clearly"


def alone(spec: UnlearnSpec, records: list[Record], folder: Path, **changes: Any) -> UnlearnSpec:
    """The job with these records to forget and no other set, judged by the default policy."""
    file = folder / "forget.jsonl"
    write_jsonl(records, file)
    update = {"records": FileRecords(forget=file), "policy": DEFAULT_POLICY, **changes}
    return spec.model_copy(update=update)


def made(outcome: Outcome) -> list[SetUsed]:
    return [used for event in outcome.events if isinstance(event, SetsMade) for used in event.sets]


def judged(outcome: Outcome) -> Judged:
    (event,) = (event for event in outcome.events if isinstance(event, Judged))
    return event


def test_a_request_of_one_record_alone_gets_a_verdict_that_says_what_it_assumed(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    record = tiny_model.sets["forget"][1]
    measure = ["likelihood", "change", "verbatim", "exposure", "cloze", "quantized", "membership", "baseline"]
    training = spec.training.model_copy(update={"epochs": 18, "learning_rate": 5e-4})
    outcome = run(alone(spec, [record], tmp_path, measure=measure, training=training))
    assert outcome.code == 0, outcome.stderr
    assert [(used.name, used.origin, used.part) for used in made(outcome)] == [
        ("unseen", "made_by_swapping", "trains"),
        ("retain", "made_by_the_model", None),
    ]
    judgement = judged(outcome).judgement
    assert judgement.verdict == "passed", [bound.bound.name for bound in judgement.bounds if bound.result != "passed"]
    assert judgement.parts["extraction"].result == "passed"
    assert judgement.assumption is not None
    assert "made" in judgement.assumption
    assert "membership is not judged" in judgement.assumption
    (warned,) = (event for event in outcome.events if isinstance(event, Warned) and event.code == "data_made")
    assert warned.message == judgement.assumption
    for event in outcome.events:
        if isinstance(event, Measured):
            assert "unseen" not in event.measurements.sets, "made text only calibrates"
            assert event.measurements.records["retain"] > 10
    card = (spec.output / CARD).read_text()
    assert "- unseen: " in card
    assert "made: copies of the records to forget" in card
    visible = outcome.stdout + outcome.stderr + card
    assert not any(text in visible for text in record.texts() if text)


def test_records_without_names_and_numbers_are_calibrated_by_the_models_own_text(
    spec: UnlearnSpec, tmp_path: Path
) -> None:
    outcome = run(alone(spec, [Record(text=PROSE)], tmp_path))
    assert outcome.code == 0, outcome.stderr
    assert [(used.name, used.origin) for used in made(outcome)] == [
        ("unseen", "made_by_the_model"),
        ("retain", "made_by_the_model"),
    ]


def test_only_the_missing_set_is_made_and_none_where_nothing_needs_it(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    job = alone(spec, tiny_model.sets["forget"][:2], tmp_path)
    assert isinstance(job.records, FileRecords)
    with_retain = job.records.model_copy(update={"retain": [tiny_model.files["retain"]]})
    outcome = run(job.model_copy(update={"records": with_retain}))
    assert [(used.name, used.origin) for used in made(outcome)] == [("unseen", "made_by_swapping")]
    method = ChildMethod(name="gradient_ascent", parameters={})
    outcome = run(job.model_copy(update={"method": method, "policy": None, "output": tmp_path / "second"}))
    assert outcome.code == 0
    assert made(outcome) == []
    outcome = run(job.model_copy(update={"method": method, "output": tmp_path / "third"}))
    assert [(used.name, used.origin) for used in made(outcome)] == [("retain", "made_by_the_model")]
