"""What the clients read: streams in pieces, answers of newer services, and paths that they must not follow."""

from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import pytest

from api.client import NoServiceNamed, NotAnId, ServerSentEvent, UnexpectedAnswer, UnlearningClient
from api.client.answers import parse
from api.client.call import get, url_path
from api.client.downloads import place
from api.client.event_stream import EventParser
from api.client.line_buffer import LineBuffer
from core.schema.files import File
from core.schema.jobs import EvaluationUsed, Job

FILE = {
    "id": "file-0",
    "filename": "a.txt",
    "format": "txt",
    "bytes": 1,
    "sha256": "00",
    "records": 1,
    "created_at": "2026-01-01T00:00:00Z",
    "expires_at": None,
}
STREAM = 'event: phase\nid: 3\ndata: {"a": "b\u2028c"}\n\n: ping\n\nevent: progress\r\ndata: {}\r\n\r\nid: 4\n\n'
EVENTS = [ServerSentEvent("phase", {"a": "b\u2028c"}, "3"), ServerSentEvent("progress", {}, None)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_are_read_from_pieces_of_any_size(size: int) -> None:
    lines, parser, data = LineBuffer(), EventParser(), STREAM.encode()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    events = [parser.add(line) for piece in pieces for line in lines.add(piece)]
    assert [event for event in events if event is not None] == EVENTS


def test_fields_that_a_newer_service_adds_are_let_through() -> None:
    answer = {"measure": [{"name": "gradnorm", "records": 500}], "policy": None, "newer": {"field": 1}}
    used = parse(httpx.Response(200, json=answer), EvaluationUsed)
    (choice,) = used.measure
    assert not isinstance(choice, str)
    assert choice.parameters == {"records": 500}


def test_an_answer_of_another_form_is_refused_by_the_field_without_its_value() -> None:
    with pytest.raises(UnexpectedAnswer, match=r"File .*\(purpose: ") as refused:
        parse(httpx.Response(200, json={**FILE, "purpose": "secret"}), File)
    assert "secret" not in str(refused.value)
    with pytest.raises(UnexpectedAnswer):
        parse(httpx.Response(200, text="<html>"), Job)


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../up", "", "a\\b", "a\0b"])
def test_a_file_outside_of_the_directory_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(UnexpectedAnswer):
        place(tmp_path, path)


def test_ids_are_quoted_and_parameters_are_written_as_in_a_url() -> None:
    assert url_path("policies", "a b/c?d") == "/v1/policies/a%20b%2Fc%3Fd"
    for id in ("", ".", ".."):
        with pytest.raises(NotAnId):
            url_path("models", id)
    query = get("/v1/jobs", overdue=True, model=None, due_before=date(2026, 1, 2), at=datetime(2026, 1, 2, tzinfo=UTC))
    assert query.query_text() == {
        "overdue": "true",
        "due_before": "2026-01-02",
        "at": "2026-01-02T00:00:00+00:00",
    }


def test_the_environment_names_the_service_where_the_caller_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARN_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("UNLEARN_KEY", raising=False)
    with pytest.raises(NoServiceNamed, match="UNLEARN_KEY"):
        UnlearningClient()
    UnlearningClient(key="ulk_x").close()
