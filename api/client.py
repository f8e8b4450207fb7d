"""A client of the service's own HTTP interface: what `unlearn submit`, `demo` and `bench` talk through."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

RECONNECT_SECONDS = 0.5
TERMINAL = ("succeeded", "failed", "cancelled")


class ServiceError(Exception):
    """The service said no; the message is its problem document in words."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status = answer.status_code
        try:
            self.problem: dict[str, Any] = answer.json()
        except ValueError:
            self.problem = {"title": answer.reason_phrase}
        errors = [f"{one.get('pointer', '')} {one.get('detail', '')}".strip() for one in self.problem.get("errors", [])]
        words = [self.problem.get("title", ""), self.problem.get("detail", ""), *errors]
        super().__init__(f"{self.status}: " + "; ".join(word for word in words if word))


class DigestMismatch(Exception):
    """What was downloaded is not what the manifest says."""


@dataclass(frozen=True)
class ServerSentEvent:
    """One server-sent event."""

    type: str
    data: dict[str, Any]
    id: str | None


class Client:
    """One service, one key. Every method raises ServiceError where the service answers 4xx or 5xx."""

    def __init__(self, url: str, key: str) -> None:
        timeout = httpx.Timeout(60.0, read=90.0)
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._body(self._http.get(path, params=query))

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._body(self._http.post(path, json=body if body is not None else {}))

    def delete(self, path: str) -> None:
        self._body(self._http.delete(path))

    def find(self, path: str) -> dict[str, Any] | None:
        """Like `get`, and None where there is no such thing."""
        try:
            return self.get(path)
        except ServiceError as refused:
            if refused.status == 404:
                return None
            raise

    def upload(self, file: Path, purpose: str) -> dict[str, Any]:
        with file.open("rb") as source:
            answer = self._http.post("/v1/files", data={"purpose": purpose}, files={"file": (file.name, source)})
        return self._body(answer)

    def follow(self, job: str) -> Iterator[ServerSentEvent]:
        """The job's events as they happen, until it is over; a broken connection is taken up where it broke.

        A terminal event that is not the last is that of an attempt before a retry.
        """
        last: str | None = None
        over = False
        path = f"/v1/jobs/{job}/events"
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
            try:
                with self._http.stream("GET", path, headers=headers) as answer:
                    if answer.is_error:
                        answer.read()
                        raise ServiceError(answer)
                    for message in _messages(answer.iter_lines()):
                        last = message.id or last
                        over = message.type in TERMINAL
                        yield message
                if over or answer.status_code == 204:  # closed by the service itself: nothing can follow
                    return
            except httpx.TransportError:
                self.get("/healthz")  # raises where the service itself is gone
            time.sleep(RECONNECT_SECONDS)

    def download(self, checkpoint: str, directory: Path) -> dict[str, Any]:
        """Fetches every file of the checkpoint into `directory` and checks each against its sha256."""
        about = self.get(f"/v1/checkpoints/{checkpoint}")
        for file in about["files"]:
            target = directory / file["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            hashed = hashlib.sha256()
            with (
                self._http.stream("GET", f"/v1/checkpoints/{checkpoint}/files/{quote(file['path'])}") as answer,
                target.open("wb") as sink,
            ):
                if answer.is_error:
                    answer.read()
                    raise ServiceError(answer)
                for piece in answer.iter_bytes():
                    hashed.update(piece)
                    sink.write(piece)
            if hashed.hexdigest() != file["sha256"]:
                raise DigestMismatch(
                    f"{file['path']} does not have the sha256 that the checkpoint lists: download it again"
                )
        return about

    @staticmethod
    def _body(answer: httpx.Response) -> dict[str, Any]:
        if answer.is_error:
            raise ServiceError(answer)
        body: dict[str, Any] = answer.json() if answer.content else {}
        return body


def _messages(lines: Iterator[str]) -> Iterator[ServerSentEvent]:
    """Server-sent events out of lines (WHATWG HTML, section 9.2.6); comments and empty messages are left out."""
    fields: dict[str, list[str]] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
            continue
        if "data" in fields:
            data = json.loads("\n".join(fields["data"]))
            yield ServerSentEvent(fields.get("event", ["message"])[-1], data, fields.get("id", [None])[-1])
        fields = {}
