"""Errors as RFC 9457 problem documents: what is wrong and which field is at fault, without any of the input."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from core.schema.errors import DomainError

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:unlearning-service:problem:"
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Names of RFC 9110 that the standard library of some supported versions of Python lacks."""


class FieldError(BaseModel):
    """A field of the request that is at fault."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the request's body, or the name of a parameter")
    detail: str = Field(description="what is wrong with the field")


class ProblemDocument(BaseModel):
    """The body of every error answer."""

    type: str = Field(examples=[TYPE + "not-found"], description="the kind of problem, for programs")
    title: str = Field(description="the name of the HTTP status")
    status: int = Field(description="the HTTP status")
    detail: str | None = Field(default=None, description="what is wrong, and what to do next")
    instance: str | None = Field(default=None, description="the request's id, as in X-Request-ID")
    errors: list[FieldError] | None = Field(default=None, description="the fields at fault")


@dataclass
class Problem(Exception):
    """An error that the API reports to the client. `detail` holds neither a record's text nor a path of the server."""

    status: int
    name: str
    detail: str | None = None
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


class BodyTooLarge(HTTPException):
    """413. An HTTPException, because FastAPI turns any other error in the reading of a body into a 400."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is over the limit of {limit} bytes")


def not_found(resource: str) -> Problem:
    return Problem(404, "not-found", f"there is no such {resource}")


def unprocessable(pointer: str, detail: str, *, name: str = "invalid-request") -> Problem:
    """Returns a 422 with one field at fault."""
    return Problem(422, name, detail, [FieldError(pointer=pointer, detail=detail)])


def domain_problem(error: DomainError) -> Problem:
    """Returns the problem that an error of the domain carries."""
    errors = [FieldError(pointer=error.pointer, detail=error.detail)] if error.pointer else []
    headers = {} if error.retry_after is None else {"Retry-After": str(math.ceil(error.retry_after))}
    return Problem(error.status, error.problem, error.detail, errors, headers)


def http_problem(error: HTTPException) -> Problem:
    """Returns the problem for an error of the framework: no such route, no such method, a body too large."""
    name = _title(error.status_code).lower().replace(" ", "-")
    detail = error.detail if isinstance(error, BodyTooLarge) else None
    return Problem(error.status_code, name, detail, headers=error.headers or {})


def problem_response(problem: Problem, request_id: str | None) -> Response:
    """Returns the problem as an HTTP response."""
    document = ProblemDocument(
        type=TYPE + problem.name,
        title=_title(problem.status),
        status=problem.status,
        detail=problem.detail,
        instance=request_id,
        errors=list(problem.errors) or None,
    )
    content = document.model_dump(exclude_none=True)
    return JSONResponse(content, problem.status, headers=dict(problem.headers), media_type=MEDIA_TYPE)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the error answers of a route for its OpenAPI entry; 401, 403, 422, 429 and 500 belong to every route."""
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {"description": _title(status), "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({401, 403, 422, 429, 500, *statuses})
    }


def example_problem(status: int) -> dict[str, Any]:
    """Returns a problem document of this status, as an example."""
    title = _title(status)
    problem = {"type": TYPE + title.lower().replace(" ", "-"), "title": title, "status": status}
    problem["instance"] = "01a2212c6d1373ff863a9bfbde614576"
    if status == 422:
        problem |= {"type": TYPE + "invalid-request", "errors": [{"pointer": "/model", "detail": "Field required"}]}
    return problem


def _title(status: int) -> str:
    return TITLES.get(status, HTTPStatus(status).phrase)
