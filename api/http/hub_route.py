"""Errors in the form of the Hugging Face Hub, whose clients read headers and not the body."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.http.problems import Problem

ERROR_CODE = "X-Error-Code"
ERROR_MESSAGE = "X-Error-Message"
REPO_COMMIT = "X-Repo-Commit"

INVALID_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105 - the words by which clients know the error


def repository_not_found(name: str) -> Problem:
    """Returns the 404 for a repository that does not exist, or belongs to another organisation."""
    return _hub_problem("RepoNotFound", f"there is no job and no model {name} in the key's organisation")


def revision_not_found(detail: str) -> Problem:
    """Returns the 404 for a repository that has no such revision."""
    return _hub_problem("RevisionNotFound", detail)


def entry_not_found(commit: str) -> Problem:
    """Returns the 404 for a revision without such a file; clients remember it for the commit."""
    return _hub_problem("EntryNotFound", "the checkpoint has no such file", {REPO_COMMIT: commit})


def _hub_problem(code: str, detail: str, headers: dict[str, str] | None = None) -> Problem:
    return Problem(404, "not-found", detail, headers={ERROR_CODE: code, **(headers or {})})


class HubRoute(APIRoute):
    """A route whose problems carry the Hub's headers as well."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_hub(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                has_token = "authorization" in request.headers
                raise replace(problem, headers={**_headers(problem, has_token), **problem.headers}) from None

        return handle_hub


def _headers(problem: Problem, has_token: bool) -> dict[str, str]:
    """Returns the headers by which a client tells errors apart. It calls a repository that is there and closed to this
    key gated, and one that is asked for without a key not found."""
    message = problem.detail or ""
    match problem.status:
        case 401 if has_token:
            return {ERROR_MESSAGE: INVALID_TOKEN}
        case 401:
            return {ERROR_CODE: "RepoNotFound", ERROR_MESSAGE: f"{message}; clients take it from HF_TOKEN"}
        case 403:
            return {ERROR_CODE: "GatedRepo", ERROR_MESSAGE: message}
    return {ERROR_MESSAGE: message}
