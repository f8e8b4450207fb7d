"""Middleware that refuses bodies before they are read: too large (413) or of the wrong type (415)."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import BodyTooLarge, Problem, http_problem, problem_response

UPLOADS = "/v1/files"
HUB = "/hub/"
"""The routes whose clients send forms."""
FRAMING_BYTES = 64 << 10
"""Room for the parts of a multipart body beside the file's content."""


class BodyLimitMiddleware:
    """Pure ASGI. Refuses a Content-Length that is too large, and counts the bytes of every body while it arrives."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_file_bytes: int) -> None:
        self._app = app
        self._limits = {True: max_file_bytes + FRAMING_BYTES, False: max_body_bytes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        headers, upload = Headers(scope=scope), scope["path"] == UPLOADS
        limit = self._limits[upload]
        problem = _refusal(headers, limit=limit, required_type=_media_type(scope["path"]))
        if problem is not None:
            problem.headers = {"Connection": "close"}  # the body that follows is not read
            await problem_response(problem, scope["state"]["request_id"])(scope, receive, send)
            return
        await self._app(scope, _counting(receive, limit), send)


def _media_type(path: str) -> str:
    if path == UPLOADS:
        return "multipart/form-data"
    return "application/x-www-form-urlencoded" if path.startswith(HUB) else "application/json"


def _refusal(headers: Headers, *, limit: int, required_type: str) -> Problem | None:
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit():
        return Problem(400, "bad-request", "Content-Length is not a number")
    if int(length) > limit:
        return http_problem(BodyTooLarge(limit))
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if (int(length) or "transfer-encoding" in headers) and content_type != required_type:
        return Problem(415, "unsupported-media-type", f"send the body as {required_type}")
    return None


def _counting(receive: Receive, limit: int) -> Receive:
    received = 0

    async def receive_counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise BodyTooLarge(limit)
        return message

    return receive_counted
