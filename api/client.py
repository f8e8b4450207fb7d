"""Client of the service's HTTP API, for the `unlearn` command and the benchmarks."""

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

from core.schema.jobs import TERMINAL

RECONNECT_SECONDS = 0.5


class ServiceError(Exception):
    """The service answered 4xx or 5xx; the message repeats its problem document."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status = answer.status_code
        try:
            self.problem: dict[str, Any] = answer.json()
        except ValueError:
            self.problem = {"title": answer.reason_phrase}
        errors = [
            f"{error.get('pointer', '')} {error.get('detail', '')}".strip() for error in self.problem.get("errors", [])
        ]
        sentences = [self.problem.get("title", ""), self.problem.get("detail", ""), *errors]
        super().__init__(f"{self.status}: " + "; ".join(sentence for sentence in sentences if sentence))


class DigestMismatch(Exception):
    """A downloaded file does not have the digest that the manifest lists."""


@dataclass(frozen=True)
class ServerSentEvent:
    """One server-sent event."""

    type: str
    data: dict[str, Any]
    id: str | None


class Client:
    """A client with one key. Every method raises ServiceError where the service answers 4xx or 5xx."""

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
        """Like `get`, but returns None for 404."""
        try:
            return self.get(path)
        except ServiceError as error:
            if error.status == 404:
                return None
            raise

    def upload(self, file: Path, purpose: str) -> dict[str, Any]:
        with file.open("rb") as source:
            answer = self._http.post("/v1/files", data={"purpose": purpose}, files={"file": (file.name, source)})
        return self._body(answer)

    def follow(self, job: str) -> Iterator[ServerSentEvent]:
        """Yields the job's events as they happen, until the job is over; resumes after a lost connection.

        A terminal event with events after it ended an attempt before a retry.
        """
        last_id: str | None = None
        over = False
        path = f"/v1/jobs/{job}/events"
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
            try:
                with self._http.stream("GET", path, headers=headers) as answer:
                    if answer.is_error:
                        answer.read()
                        raise ServiceError(answer)
                    for event in _parse_events(answer.iter_lines()):
                        last_id = event.id or last_id
                        over = event.type in TERMINAL
                        yield event
                if over or answer.status_code == 204:  # the service closed the stream: no event can follow
                    return
            except httpx.TransportError:
                self.get("/healthz")  # raises where the service is down
            time.sleep(RECONNECT_SECONDS)

    def download(self, checkpoint: str, directory: Path) -> dict[str, Any]:
        """Downloads all files of the checkpoint to `directory` and checks their SHA-256; returns the checkpoint."""
        description = self.get(f"/v1/checkpoints/{checkpoint}")
        for file in description["files"]:
            target = directory / file["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            hasher = hashlib.sha256()
            url = f"/v1/checkpoints/{checkpoint}/files/{quote(file['path'])}"  # perhaps sent on to the object store
            with (
                self._http.stream("GET", url, follow_redirects=True) as answer,
                target.open("wb") as output,
            ):
                if answer.is_error:
                    answer.read()
                    raise ServiceError(answer)
                for chunk in answer.iter_bytes():
                    hasher.update(chunk)
                    output.write(chunk)
            if hasher.hexdigest() != file["sha256"]:
                raise DigestMismatch(
                    f"{file['path']} does not have the sha256 that the checkpoint lists: download it again"
                )
        return description

    @staticmethod
    def _body(answer: httpx.Response) -> dict[str, Any]:
        if answer.is_error:
            raise ServiceError(answer)
        body: dict[str, Any] = answer.json() if answer.content else {}
        return body


def _parse_events(lines: Iterator[str]) -> Iterator[ServerSentEvent]:
    """Yields server-sent events (WHATWG HTML, section 9.2.6), without comments and empty messages."""
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
