"""Exception handlers: every error of a route leaves as a problem document."""

import errno
import os
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.http.field_errors import field_errors
from api.http.problems import Problem, domain_problem, http_problem, problem_response
from core.schema.errors import DomainError
from core.storage import StorageFull
from core.storage.postgres import DISK_FULL

UNAVAILABLE_CLASSES = ("08", "28", "3D", "40", "53", "55", "57")
"""Classes of SQLSTATE: the server takes no connections, has no resources for more, is shutting down, or ended one of
two conflicting transactions."""
UNMIGRATED_STATES = ("42P01", "42703")
"""SQLSTATE of a missing table and of a missing column."""
NUL_STATES = ("22021", "22P05")
"""SQLSTATE of a text with a NUL character, which PostgreSQL does not store."""

log = structlog.get_logger()


def add_exception_handlers(app: FastAPI) -> None:
    """Answers all known errors; unknown ones are left to the outermost middleware."""
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)
    app.add_exception_handler(HTTPException, _answer_http_error)
    for error_class in (Problem, DomainError, DBAPIError, PoolTimeout, OSError):
        app.add_exception_handler(error_class, _answer_error)


async def _answer_invalid_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = error.errors()
    if any(field_error["type"] == "json_invalid" for field_error in errors):
        problem = Problem(422, "invalid-json", "the body is not valid JSON")
    else:
        problem = Problem(422, "invalid-request", None, field_errors(errors, error.body))
    return problem_response(problem, _request_id(request))


async def _answer_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return problem_response(http_problem(error), _request_id(request))


async def _answer_error(request: Request, error: Exception) -> Response:
    problem = to_problem(error)
    if problem is None:
        raise error
    if problem.status >= 500:
        log.error("service_fault", request_id=_request_id(request), problem=problem.name, **_log_fields(error))
    return problem_response(problem, _request_id(request))


def to_problem(error: Exception) -> Problem | None:
    """Returns the problem that an exception stands for; None: an unknown exception, which is the service's fault."""
    match error:
        case Problem():
            return error
        case DomainError():
            return domain_problem(error)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return domain_problem(StorageFull())
        case DBAPIError():
            return _database_problem(error)
        case PoolTimeout() | ConnectionError():
            return _database_unavailable()
    return None


def _database_problem(error: DBAPIError) -> Problem | None:
    """Returns the problem where the client can act on the database's error; None: it is the service's fault."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state == DISK_FULL:
        return domain_problem(StorageFull())
    if state in NUL_STATES:
        return Problem(422, "invalid-request", "a text holds a NUL character, which cannot be kept")
    is_connection_error = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    if is_connection_error or state[:2] in UNAVAILABLE_CLASSES or state in UNMIGRATED_STATES:
        return _database_unavailable()
    return None


def _database_unavailable() -> Problem:
    return Problem(503, "unavailable", "the database cannot be reached; try again", headers={"Retry-After": "2"})


def _log_fields(error: Exception) -> dict[str, Any]:
    """Returns the error's class for the log, and its reason where that cannot hold a user's data."""
    fields = {"error": type(error).__name__}
    if isinstance(error, DomainError):
        fields["reason"] = str(error)
    elif isinstance(error, OSError) and error.errno is not None:
        fields["reason"] = os.strerror(error.errno)
    elif isinstance(error, DBAPIError):
        fields["sqlstate"] = str(getattr(error.orig, "sqlstate", None))
    return fields


def _request_id(request: Request) -> str | None:
    request_id = request.scope.get("state", {}).get("request_id")
    return request_id if isinstance(request_id, str) else None
