"""A job's events as they happen, as server-sent events (WHATWG HTML, section 9.2)."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

from api.client.call import Call, url_path
from api.client.errors import UnexpectedAnswer, UnlearningError
from api.client.line_buffer import LineBuffer
from api.client.retries import may_repeat
from api.client.steps import Emit, Items, Open, Pause, Read, Sleep
from core.schema.jobs import TERMINAL

RECONNECT_SECONDS = 0.5


@dataclass(frozen=True)
class ServerSentEvent:
    """One message of the stream. An event of the job has its number as `id`; `progress` has none."""

    type: str
    data: dict[str, Any]
    id: str | None


def follow(job: str) -> Items[ServerSentEvent]:
    """Emits the job's events until the job is over, over as many connections as it takes."""
    last_id: str | None = None
    over, failures = False, 0
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        call = Call("GET", url_path("jobs", job, "events"), headers=headers)
        try:
            answer: httpx.Response = yield Open(call)
            lines, parser = LineBuffer(), EventParser()
            while (piece := (yield Read())) is not None:
                for event in filter(None, map(parser.add, lines.add(piece))):
                    last_id, over, failures = event.id or last_id, event.type in TERMINAL, 0
                    yield Emit(event)
        except UnlearningError as error:
            if not may_repeat(call, error):
                raise
            failures += 1
            yield Pause(failures, error)
            continue
        if over or answer.status_code == 204:  # the service closed the stream: no event can follow
            return
        yield Sleep(RECONNECT_SECONDS)


class EventParser:
    """Makes events of the stream's lines, without comments and empty messages."""

    def __init__(self) -> None:
        self._fields: dict[str, list[str]] = {}

    def add(self, line: bytes) -> ServerSentEvent | None:
        """Returns the event that ends with this line, if one does. Raises UnexpectedAnswer."""
        try:
            return self._event(line)
        except ValueError:  # of the decoding of UTF-8 or of JSON
            raise UnexpectedAnswer("the service sent an event that cannot be read") from None

    def _event(self, line: bytes) -> ServerSentEvent | None:
        if line:
            name, _, value = line.decode().partition(":")
            self._fields.setdefault(name, []).append(value.removeprefix(" "))
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None
        data = json.loads("\n".join(fields["data"]))
        return ServerSentEvent(fields.get("event", ["message"])[-1], data, fields.get("id", [None])[-1])
