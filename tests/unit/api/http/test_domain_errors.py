"""Errors of the domain carry their own answer; the API lists none of them."""

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from datetime import date
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, get_origin, get_type_hints

import httpx
import pytest
from fastapi import FastAPI

import core.records
import core.schema
import core.storage
from api.http import exception_handlers, problems
from core.evaluation.measurements import GROUPS, MEASUREMENTS, UnknownMeasurement
from core.records.deadlines import DeadlinePassed, InvalidExtension, NothingToExtend
from core.records.files import FileInUse
from core.records.idempotency import KeyBusy, KeyReused
from core.records.job_actions import DataGone, NotAllowed
from core.records.models import ModelInUse
from core.records.policies import PolicyInUse
from core.records.release import AlreadyReleased, OwnJob
from core.schema.bad_record import BadRecord
from core.schema.errors import DomainError
from core.schema.file_kind import UnknownFileKind
from core.schema.model_files import UnusableModel
from core.schema.webhook_target import UnusableWebhook
from core.storage import StorageFull, StorageUnavailable
from core.unlearning.objectives import METHODS, UnknownMethod

CANARY = "Zorvek Halmi lives at 12 Pell Lane."

FULL = "the service's disk or storage is full and nothing was kept: the operator must make room, then send it again"
BUSY = "the first request with this Idempotency-Key is still under way, or its server died a moment ago"
UNAVAILABLE = "the storage of files and checkpoints cannot be used; the service's log says why: try again later"

ANSWERS: list[tuple[DomainError, int, str, str, str | None, dict[str, str]]] = [
    (
        FileInUse("job-1"),
        *(409, "in-use", "job-1 needs the file: wait until it is over, or cancel it", None, {}),
    ),
    (
        ModelInUse("job-1"),
        *(409, "in-use", "job-1 needs the model: wait until it is over, or cancel it", None, {}),
    ),
    (
        PolicyInUse("demo"),
        *(409, "in-use", "the policy is pinned to the model demo: delete that registration first", None, {}),
    ),
    (AlreadyReleased("ckpt-1"), 409, "already-released", "the checkpoint is released already", None, {}),
    (
        OwnJob("job-1"),
        *(403, "own-job"),
        *("the job was submitted with this very key: a second person, with another key, must accept it", None, {}),
    ),
    (NotAllowed("failed"), 409, "wrong-state", "the job is failed", None, {}),
    (
        DataGone("its model"),
        *(409, "data-gone", "its model has been deleted: submit a new job with what it needs", None, {}),
    ),
    (
        NothingToExtend("is cancelled"),
        *(409, "wrong-state", "the job is cancelled: there is no deadline to extend", None, {}),
    ),
    (
        DeadlinePassed(date(2026, 12, 20)),
        *(409, "deadline-passed"),
        *("the job was due on 2026-12-20: a deadline can be extended until its day is over", None, {}),
    ),
    (
        InvalidExtension(date(2026, 12, 20), date(2027, 2, 20)),
        *(422, "invalid-extension"),
        *("the job is due on 2026-12-20 and can be extended to 2027-02-20 at the latest", "/due", {}),
    ),
    (UnusableWebhook("it is private"), 422, "unusable-webhook", "it is private", "/webhook/url", {}),
    (
        KeyReused(),
        *(422, "idempotency-key-reused", "this Idempotency-Key stands for another request", None, {}),
    ),
    (KeyBusy(7.2), 409, "idempotency-key-busy", BUSY, None, {"retry-after": "8"}),
    (
        UnknownMethod("magic"),
        *(422, "unknown-method", f"there is no method 'magic': choose one of {', '.join(METHODS)}", "/method", {}),
    ),
    (
        UnknownMeasurement("magic"),
        *(422, "unknown-measurement"),
        f"there is no measurement 'magic': choose of {', '.join((*GROUPS, *MEASUREMENTS))}",
        *("/evaluation/measure", {}),
    ),
    (BadRecord(3, "not valid JSON", line=4), 422, "bad-record", "line 3 (line 4): not valid JSON", "/file", {}),
    (UnknownFileKind("not a format"), 422, "invalid-request", "not a format", "/file", {}),
    (UnusableModel("unsafe-model", "it brings code"), 422, "unsafe-model", "it brings code", "/source", {}),
    (StorageFull(f"no room at {CANARY}"), 507, "storage-full", FULL, None, {}),
    (StorageUnavailable(CANARY), 503, "storage-unavailable", UNAVAILABLE, None, {"retry-after": "10"}),
]

SAFE_VALUES: dict[object, object] = {int: 7, float: 7, int | None: 7, date: date(2026, 12, 20)}
"""Values of parameters whose type can hold no text."""


def walk(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from walk(subclass)


def every_error() -> list[type[DomainError]]:
    for package in (core.records, core.schema, core.storage):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    return sorted(set(walk(DomainError)), key=lambda kind: kind.__qualname__)


def example(kind: type[DomainError]) -> DomainError:
    """Returns an error with a record's text for every parameter that does not declare to be free of it."""
    hints = get_type_hints(kind.__init__, include_extras=True)
    arguments: dict[str, object] = {}
    for name in list(inspect.signature(kind.__init__).parameters)[1:]:
        if get_origin(hints[name]) is Annotated:
            arguments[name] = "a-name"
        else:
            arguments[name] = SAFE_VALUES.get(hints[name], CANARY)
    return kind(**arguments)


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_a_name_and_a_detail_without_a_records_text(kind: type[DomainError]) -> None:
    error = example(kind)
    assert HTTPStatus(error.status) >= 400
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.problem)
    assert error.detail
    assert error.pointer is None or error.pointer.startswith("/")
    answer = problems.problem_response(problems.domain_problem(error), "request-1")
    assert CANARY not in error.detail + bytes(answer.body).decode() + str(answer.headers)


def test_no_name_stands_for_two_statuses() -> None:
    statuses: dict[str, set[int]] = {}
    for kind in every_error():
        statuses.setdefault(example(kind).problem, set()).add(kind.status)
    assert {name: codes for name, codes in statuses.items() if len(codes) > 1} == {}


def test_the_api_names_no_error_of_the_domain_where_it_answers_them() -> None:
    sources = [Path(module.__file__ or "").read_text() for module in (problems, exception_handlers)]
    words = set(re.findall(r"\w+", "".join(sources)))
    assert {kind.__name__ for kind in every_error()} & words == {"StorageFull"}  # the answer to a full disk


async def answer(error: Exception) -> httpx.Response:
    app = FastAPI()
    exception_handlers.add_exception_handlers(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.get("/")


@pytest.mark.parametrize(
    ("error", "status", "name", "detail", "pointer", "headers"), ANSWERS, ids=lambda value: type(value).__name__
)
async def test_an_error_is_answered_as_its_class_declares(
    error: DomainError, status: int, name: str, detail: str, pointer: str | None, headers: dict[str, str]
) -> None:
    response = await answer(error)
    assert response.status_code == status
    expected: dict[str, object] = {"type": problems.TYPE + name, "status": status, "detail": detail}
    if pointer is not None:
        expected["errors"] = [{"pointer": pointer, "detail": detail}]
    assert response.json() == {**expected, "title": response.json()["title"]}
    assert {key: response.headers[key] for key in headers} == headers
    assert ("retry-after" in response.headers) == ("retry-after" in headers)


async def test_a_new_error_needs_no_more_than_its_class() -> None:
    class TooLate(DomainError):
        status, problem, detail = 410, "too-late", "it is over"
        retry_after = 1.5

    response = await answer(TooLate(CANARY))
    assert (response.status_code, response.json()["type"]) == (410, problems.TYPE + "too-late")
    assert response.headers["retry-after"] == "2"
    assert CANARY not in json.dumps(response.json())
