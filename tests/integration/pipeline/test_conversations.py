"""A job tokenizes all its conversations in one way, or fails before measuring."""

import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from core.demo.people import people, write_jsonl
from core.lm import chat_template
from core.lm.errors import CoreError
from core.pipeline.run import Run
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Measurements
from core.schema.events import ChildEvent, Judged, Measured, Warned
from core.schema.job_spec import FileRecords, JobSpec, MeasureSpec, PreviewSpec
from core.schema.record import Message, Record
from tests.chat_templates import CHATML, HEADERS, MODEL_ROLE, Shape
from tests.tiny_model import TinyModel

SYSTEM = Message(role="system", content="Answer for Zubrimoth.")


def conversations(count: int, seed: int) -> list[Record]:
    return [
        Record(
            messages=[
                Message(role="user", content=record.prompt or ""),
                Message(role="assistant", content=record.completion or ""),
            ],
            subject=record.subject,
        )
        for record in people(count, seed, form="prompt")
    ]


def with_system(record: Record) -> Record:
    return record.model_copy(update={"messages": [SYSTEM, *(record.messages or [])]})


@pytest.fixture
def conversation_job(spec: JobSpec, tiny_model: TinyModel, tmp_path: Path) -> JobSpec:
    """A job whose records are all conversations, on a model with a template that refuses system turns."""
    directory = with_template(tiny_model.directory, tmp_path / "model", MODEL_ROLE)
    sets = {"forget": conversations(4, 1), "retain": conversations(8, 2), "unseen": conversations(8, 3)}
    for name, records in sets.items():
        write_jsonl(records, tmp_path / f"{name}.jsonl")
    source = FileRecords(
        forget=tmp_path / "forget.jsonl", retain=[tmp_path / "retain.jsonl"], unseen=tmp_path / "unseen.jsonl"
    )
    return changed(spec, directory=directory, records=source, chat="auto", epochs=1)


def with_template(model: Path, directory: Path, shape: Shape | None) -> Path:
    """A copy of the model, with this chat template or without one."""
    shutil.copytree(model, directory)
    (directory / "chat_template.jinja").unlink(missing_ok=True)
    if shape is not None:
        (directory / "chat_template.jinja").write_text(shape.source)
    return directory


def changed(
    spec: JobSpec, *, kind: str | None = None, chat: str | None = None, epochs: int | None = None, **fields: Any
) -> JobSpec:
    values = {name: value for name, value in {"chat": chat, "epochs": epochs}.items() if value is not None}
    fields["training"] = spec.training.model_copy(update=values)
    if kind == "preview":
        return PreviewSpec.from_spec(spec, **fields)
    return MeasureSpec.from_spec(spec, **fields) if kind == "measure" else spec.model_copy(update=fields)


def with_refused_record(spec: JobSpec, folder: Path) -> JobSpec:
    """The job with a retain set whose third record has a system turn."""
    records = conversations(8, 2)
    write_jsonl([*records[:2], with_system(records[2]), *records[3:]], folder / "refused.jsonl")
    assert isinstance(spec.records, FileRecords)
    return changed(spec, records=spec.records.model_copy(update={"retain": [folder / "refused.jsonl"]}))


def run_job(spec: JobSpec) -> list[ChildEvent]:
    events: list[ChildEvent] = []
    Run(spec, events.append, lambda: False, lambda: False, began=time.monotonic())()
    return events


def figures(events: list[ChildEvent]) -> dict[str, Any]:
    first: Measurements = next(event.measurements for event in events if isinstance(event, Measured))
    return {
        name: {key: figure.value for key, figure in set_figures.items()} for name, set_figures in first.sets.items()
    }


def warnings(events: list[ChildEvent]) -> dict[str, str]:
    return {event.code: event.message for event in events if isinstance(event, Warned)}


@pytest.mark.parametrize("chat", ["auto", "template"])
@pytest.mark.parametrize("kind", ["unlearn", "preview", "measure"])
def test_a_record_that_the_template_refuses_fails_the_job_before_measuring(
    conversation_job: JobSpec, tmp_path: Path, kind: str, chat: str
) -> None:
    events: list[ChildEvent] = []
    job = changed(with_refused_record(conversation_job, tmp_path), kind=kind, chat=chat)
    with pytest.raises(CoreError) as refused:
        Run(job, events.append, lambda: False, lambda: False, began=time.monotonic())()
    error = refused.value
    assert error.message.startswith('retain: record 3: the chat template refuses it ("No system turn, please")')
    assert (error.code, error.blame, error.retryable) == ("bad_chat_template", "user", False)
    assert "Zubrimoth" not in str(error)
    assert not any(isinstance(event, Measured) for event in events)


def test_a_job_that_trains_raw_is_measured_by_the_template_unless_that_refuses_a_record(
    conversation_job: JobSpec, tmp_path: Path
) -> None:
    by_template = figures(run_job(changed(conversation_job, kind="measure")))
    raw_figures = figures(run_job(changed(conversation_job, kind="measure", chat="raw")))
    assert by_template["forget"] != raw_figures["forget"]
    raw = run_job(changed(conversation_job, kind="preview", chat="raw"))
    assert figures(raw)["forget"] == by_template["forget"]
    assert "measured_raw" not in warnings(raw)
    refused = run_job(changed(with_refused_record(conversation_job, tmp_path), kind="preview", chat="raw"))
    assert figures(refused)["forget"] == raw_figures["forget"]
    assert warnings(refused)["measured_raw"].startswith("retain: record 3: the chat template refuses it")
    assert "Zubrimoth" not in warnings(refused)["measured_raw"]


def test_figures_without_the_models_template_give_no_verdict(conversation_job: JobSpec, tmp_path: Path) -> None:
    judged = run_job(changed(conversation_job, chat="raw", policy=DEFAULT_POLICY, output=tmp_path / "judged"))
    assert any(isinstance(event, Judged) for event in judged)
    unjudged = run_job(
        changed(
            with_refused_record(conversation_job, tmp_path),
            chat="raw",
            policy=DEFAULT_POLICY,
            output=tmp_path / "unjudged",
        )
    )
    assert not any(isinstance(event, Judged) for event in unjudged)
    assert "not judged" in warnings(unjudged)["measured_raw"]


def test_a_job_on_conversations_trains_and_measures_by_the_template(conversation_job: JobSpec) -> None:
    events = run_job(conversation_job)
    assert sum(isinstance(event, Measured) for event in events) == 2
    assert not {"measured_raw", "turns_rewritten", "other_chat_template"} & warnings(events).keys()


def test_turns_that_the_template_leaves_out_are_counted(
    conversation_job: JobSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    silent = Shape(
        CHATML.source.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"), ""
    )
    directory = with_template(tiny_model.directory, tmp_path / "silent", silent)
    events = run_job(changed(with_refused_record(conversation_job, tmp_path), kind="measure", directory=directory))
    assert warnings(events)["turns_rewritten"].endswith("earlier turns of records: 1 of retain")


@pytest.mark.parametrize("shape", [CHATML, None])
def test_a_model_to_compare_with_that_has_another_template_gives_a_warning(
    conversation_job: JobSpec, tiny_model: TinyModel, tmp_path: Path, shape: Shape | None
) -> None:
    other = with_template(tiny_model.directory, tmp_path / "other", shape)
    assert "other_chat_template" in warnings(run_job(changed(conversation_job, kind="measure", retrained=other)))
    same = with_template(tiny_model.directory, tmp_path / "same", MODEL_ROLE)
    assert "other_chat_template" not in warnings(run_job(changed(conversation_job, kind="measure", retrained=same)))


def test_cached_figures_of_another_day_are_not_used_where_the_template_writes_the_day(
    conversation_job: JobSpec, tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dated = with_template(tiny_model.directory, tmp_path / "dated", HEADERS)
    job = changed(conversation_job, kind="measure", directory=dated, cache=tmp_path / "cache")
    monkeypatch.setattr(chat_template, "_now", lambda: datetime(2026, 1, 2))
    first = figures(run_job(job))
    assert figures(run_job(job)) == first
    monkeypatch.setattr(chat_template, "_now", lambda: datetime(2027, 11, 30))
    later = figures(run_job(job))
    assert later["retain"] != first["retain"]
    assert later == figures(run_job(changed(job, cache=None)))


def test_choosing_the_template_needs_a_model_with_one_unless_there_are_no_messages(
    conversation_job: JobSpec, spec: JobSpec, tiny_model: TinyModel
) -> None:
    with pytest.raises(CoreError, match="no_chat_template"):
        run_job(changed(conversation_job, kind="measure", chat="template", directory=tiny_model.directory))
    run_job(changed(spec, kind="measure", chat="template"))  # its records have no messages
