"""The catalogue describes every event that the service writes, and the service writes every event that it describes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.schema.event_types import EVENTS, EventType, UndocumentedEvent, check_event
from core.schema.events import CHILD_EVENT, Event
from core.schema.jobs import STATUSES, TERMINAL

ROOT = Path(__file__).parents[3]
WRITERS = {"append": 2, "request": 2, "add_event": 3}
"""Functions of core/records that write an event, with the position of its type among their arguments."""


def sources() -> list[Path]:
    return sorted(path for folder in ("api", "benchmarks", "core", "worker") for path in (ROOT / folder).rglob("*.py"))


def bare_types(source: str) -> Iterator[int]:
    """Line numbers of every place where an event is written, or asked for, whose type is not the catalogue's."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="events" | "progress"), attr=name)) if name in WRITERS:
                arguments = [keyword.value for keyword in node.keywords if keyword.arg == "type"]
                if not all(map(_is_of_catalogue, arguments or node.args[WRITERS[name] : WRITERS[name] + 1])):
                    yield node.lineno
            case ast.Call(args=[ast.Attribute(value=ast.Name(id="progress"), attr="add_event"), type, *_]):
                if not _is_of_catalogue(type):
                    yield node.lineno
            case ast.Call(func=ast.Name(id="Change"), args=[_, _, type, *_]) if not _is_of_catalogue(type):
                yield node.lineno
            case ast.Compare(left=ast.Attribute(value=ast.Name(id="EventRow"), attr="type"), comparators=[type]):
                if isinstance(type, ast.Constant):
                    yield node.lineno
            case ast.Call(func=ast.Name(id="insert"), args=[ast.Name(id="EventRow")]):
                yield node.lineno


def _is_of_catalogue(type: ast.expr) -> bool:
    """Whether the expression is a member of EventType, is made one, or was one already (`change.event`)."""
    return ast.unparse(type) in {*map(str, map(_member, EventType)), "EventType(event.kind)", "change.event", "type"}


def _member(type: EventType) -> str:
    return f"EventType.{type.name}"


@pytest.mark.parametrize(
    "statement",
    [
        "events.append(session, job, 'judged', {})",
        "events.append(session, job, data={}, type='judged')",
        "events.request(session, job, 'pause_requested')",
        "self._lease.write(progress.add_event, 'saved', {})",
        "progress.add_event(session, job, fence, 'saved', {})",
        "Change(_sources('queued'), 'paused', 'paused')",
        "query = select(EventRow).where(EventRow.type == 'cost')",
        "insert(EventRow).values(job=job.id, type='cost')",
        "events.append(session, job, EventType.INVENTED)",
    ],
)
def test_a_type_that_is_not_of_the_catalogue_is_found_in_source(statement: str) -> None:
    assert list(bare_types(statement)) == [1]


def test_the_service_writes_no_event_that_the_catalogue_lacks() -> None:
    lines_by_path = {path.relative_to(ROOT).as_posix(): list(bare_types(path.read_text())) for path in sources()}
    inserted = lines_by_path.pop("core/records/events.py")
    assert len(inserted) == 1  # the one place where events become rows
    assert {path: lines for path, lines in lines_by_path.items() if lines} == {}


def test_the_service_writes_every_event_of_the_catalogue() -> None:
    written = "\n".join(path.read_text() for path in sources() if path.name != "event_types.py")
    # the worker records these events of its child under their own kinds
    passed_on = {"snapshot", "resumed", "saved", "tuned", "trained"}
    assert passed_on <= CHILD_EVENT.json_schema()["discriminator"]["mapping"].keys()
    assert [type for type in EventType if _member(type) not in written and type not in passed_on] == []


def test_every_type_has_a_meaning_and_every_field_of_its_data_too() -> None:
    assert list(EVENTS) == list(EventType)
    for type, description in EVENTS.items():
        assert description.meaning.endswith("."), type
        assert all(description.data.values()), type


def test_an_event_with_data_that_the_catalogue_does_not_describe_is_refused() -> None:
    check_event(EventType.STARTED, {"attempt": 1})
    check_event(EventType.CANCELLED, {})
    with pytest.raises(UndocumentedEvent, match="worker"):
        check_event(EventType.STARTED, {"attempt": 1, "worker": "w"})


def test_the_apis_document_enumerates_the_types_with_their_meanings() -> None:
    type = Event.model_json_schema()["properties"]["type"]
    assert type["enum"] == list(EventType)
    for name, description in EVENTS.items():
        assert f"- `{name}`: {description.meaning}" in type["description"]


def test_the_console_has_a_sentence_for_every_type_and_names_no_other() -> None:
    history = (ROOT / "api/console/components/history.js").read_text()
    (sentences,) = re.findall(r"const SENTENCES = \{\n(.*?)\n\};", history, re.DOTALL)
    assert set(re.findall(r"^  (\w+): ", sentences, re.MULTILINE)) == set(EventType)
    job_status = (ROOT / "api/console/job_status.js").read_text()
    (terminal,) = re.findall(r"const TERMINAL = new Set\(\[(.*?)\]\)", job_status)
    assert set(re.findall(r'"(\w+)"', terminal)) == {"succeeded", "failed", "cancelled"} <= set(EventType)


def test_the_console_has_the_statuses_of_the_schema_in_one_module() -> None:
    job_status = (ROOT / "api/console/job_status.js").read_text()
    (statuses,) = re.findall(r"const STATUSES = \[(.*?)\]", job_status)
    (terminal,) = re.findall(r"const TERMINAL = new Set\(\[(.*?)\]\)", job_status)
    assert tuple(re.findall(r'"(\w+)"', statuses)) == STATUSES
    assert set(re.findall(r'"(\w+)"', terminal)) == TERMINAL
    lists = [path.name for path in (ROOT / "api/console").rglob("*.js") if '"failed", "cancelled"' in path.read_text()]
    assert lists == ["job_status.js"]


def test_the_console_reads_no_field_of_an_events_data_that_the_catalogue_lacks() -> None:
    history = (ROOT / "api/console/components/history.js").read_text()
    for type, sentence in re.findall(r"^  (\w+): (.*)$", history, re.MULTILINE):
        assert set(re.findall(r"data\.(\w+)", sentence)) <= EVENTS[EventType(type)].data.keys(), type
