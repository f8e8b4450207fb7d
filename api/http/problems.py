"""Errors as RFC 9457 problem documents: what went wrong, which field is at fault, and nothing of the input itself."""

import errno
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from core.schema.errors import DomainError
from core.storage import StorageFull
from core.storage.postgres import DISK_FULL

MEDIA_TYPE = "application/problem+json"
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""As RFC 9110 has them, whatever this Python's table says."""

GONE = ("08", "28", "3D", "40", "53", "55", "57")
"""Classes of SQLSTATE: the server takes no connections, has no room for more, is going down, or ended one of two
transactions that stood in each other's way."""
UNMIGRATED = ("42P01", "42703")

log = structlog.get_logger()

TYPE = "urn:unlearning-service:problem:"


class FieldError(BaseModel):
    pointer: str = Field(description="JSON pointer (RFC 6901) into the request's body, or the name of a parameter")
    detail: str = Field(description="what is wrong with it")


class ProblemDocument(BaseModel):
    """What every error answer looks like."""

    type: str = Field(examples=[TYPE + "not-found"], description="names the kind of problem, for programs")
    title: str = Field(description="the status in words")
    status: int = Field(description="the HTTP status")
    detail: str | None = Field(default=None, description="what is wrong, and what to do next")
    instance: str | None = Field(default=None, description="the request's id, as in X-Request-ID")
    errors: list[FieldError] | None = Field(default=None, description="the fields at fault")


@dataclass
class Problem(Exception):
    """An error that a client is told about. `detail` never holds a record's text or a place on the server."""

    status: int
    name: str
    detail: str | None = None
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def not_found(what: str) -> Problem:
    return Problem(404, "not-found", f"there is no such {what}")


def unprocessable(pointer: str, detail: str, *, name: str = "invalid-request") -> Problem:
    """422 with one field at fault."""
    return Problem(422, name, detail, [FieldError(pointer=pointer, detail=detail)])


def document(problem: Problem, request_id: str | None) -> Response:
    """The problem as an answer."""
    body = ProblemDocument(
        type=TYPE + problem.name,
        title=_title(problem.status),
        status=problem.status,
        detail=problem.detail,
        instance=request_id,
        errors=list(problem.errors) or None,
    )
    content = body.model_dump(exclude_none=True)
    return JSONResponse(content, problem.status, headers=dict(problem.headers), media_type=MEDIA_TYPE)


def pointer(parts: Sequence[str | int]) -> str:
    """A JSON pointer of these steps (RFC 6901, section 3)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def field_errors(
    errors: Sequence[Mapping[str, Any]], body: Any, prefix: tuple[str | int, ...] = ()
) -> list[FieldError]:
    """pydantic's errors with pointers that resolve in `body`; the input itself, and names within records, stay out."""
    found = []
    for error in errors:
        place, *steps = error["loc"] or ("body",)
        if place != "body":
            found.append(FieldError(pointer=str(steps[0] if steps else place), detail=_detail(error)))
            continue
        found.append(FieldError(pointer=pointer((*prefix, *_steps(error["type"], steps, body))), detail=_detail(error)))
    return found


def invalid_parameters(error: ValidationError, given: Any, prefix: tuple[str | int, ...]) -> Problem:
    """422 for fields that were checked by themselves, such as a method's parameters, found below `prefix`."""
    errors = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_input=False, include_url=False)]
    return Problem(422, "invalid-request", None, field_errors(errors, given, prefix))


def _detail(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    return "this field is not known" if error["type"] == "extra_forbidden" else message


def _steps(kind: str, steps: Sequence[str | int], body: Any) -> list[str | int]:
    """The steps that exist in the body: pydantic's own name the members of unions as well."""
    here, kept = body, list[str | int]()
    for number, step in enumerate(steps):
        if isinstance(here, dict) and step in here:
            here = here[str(step)]
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        elif not (kind == "missing" and isinstance(here, dict) and number == len(steps) - 1):
            continue
        kept.append(step)
        if kept[-2:-1] == ["records"]:  # a record's unknown field may itself be text that must be forgotten
            break
    return kept


def database_problem(error: DBAPIError) -> Problem | None:
    """What a client can do about an error of the database; None: nothing, it is the service's fault."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state == DISK_FULL:
        return domain_problem(StorageFull())
    if state in ("22021", "22P05"):  # PostgreSQL stores no NUL
        return Problem(422, "invalid-request", "a text holds a NUL character, which cannot be kept")
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError) or state[:2] in GONE:
        return database_unavailable()
    return database_unavailable() if state in UNMIGRATED else None


class BodyTooLarge(HTTPException):
    """413. FastAPI lets this kind through from within the reading of a body, and makes a 400 of any other."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is over the limit of {limit} bytes")


def database_unavailable() -> Problem:
    return Problem(503, "unavailable", "the database cannot be reached; try again", headers={"Retry-After": "2"})


def domain_problem(error: DomainError) -> Problem:
    """The problem that an error of the domain carries."""
    errors = [FieldError(pointer=error.pointer, detail=error.detail)] if error.pointer else []
    headers = {} if error.retry_after is None else {"Retry-After": str(math.ceil(error.retry_after))}
    return Problem(error.status, error.problem, error.detail, errors, headers)


def to_problem(error: Exception) -> Problem | None:
    """The problem that an exception stands for; None: an unknown exception, which is the service's fault."""
    match error:
        case Problem():
            return error
        case DomainError():
            return domain_problem(error)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return domain_problem(StorageFull())
        case DBAPIError():
            return database_problem(error)
        case PoolTimeout() | ConnectionError():
            return database_unavailable()
    return None


def cause(error: BaseException) -> dict[str, str]:
    """Fields of an error for the log: its class, and a reason only where no user's data can be in it."""
    said = {"error": type(error).__name__}
    if isinstance(error, DomainError):
        said["reason"] = str(error)
    elif isinstance(error, OSError) and error.errno is not None:
        said["reason"] = os.strerror(error.errno)
    elif isinstance(error, DBAPIError):
        said["sqlstate"] = str(getattr(error.orig, "sqlstate", None))
    return said


def http_problem(error: HTTPException) -> Problem:
    """What the framework has to say: no such route, no such method, a body too large."""
    name = _title(error.status_code).lower().replace(" ", "-")
    detail = error.detail if isinstance(error, BodyTooLarge) else None
    return Problem(error.status_code, name, detail, headers=error.headers or {})


def _title(status: int) -> str:
    return TITLES.get(status, HTTPStatus(status).phrase)


def request_id(request: Request) -> str | None:
    found = request.scope.get("state", {}).get("request_id")
    return found if isinstance(found, str) else None


def add_exception_handlers(app: FastAPI) -> None:
    """Every error of a route leaves as a problem document; what is not known is left to the outermost layer."""

    async def invalid(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        if any(one["type"] == "json_invalid" for one in error.errors()):
            return document(Problem(422, "invalid-json", "the body is not valid JSON"), request_id(request))
        errors = field_errors(error.errors(), error.body)
        return document(Problem(422, "invalid-request", None, errors), request_id(request))

    async def http(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        return document(http_problem(error), request_id(request))

    async def domain(request: Request, error: Exception) -> Response:
        problem = to_problem(error)
        if problem is None:
            raise error
        if problem.status >= 500:
            log.error("service_fault", request_id=request_id(request), problem=problem.name, **cause(error))
        return document(problem, request_id(request))

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    for kind in (Problem, DomainError, DBAPIError, PoolTimeout, OSError):
        app.add_exception_handler(kind, domain)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem answers of a route, for its OpenAPI entry; 401, 403, 422, 429 and 500 can come from any."""
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {"description": _title(status), "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({401, 403, 422, 429, 500, *statuses})
    }
