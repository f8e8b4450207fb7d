"""Bodies that are refused before they are read: too large (413) or of the wrong type (415)."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import BodyTooLarge, Problem, http_problem, problem_response

UPLOADS = "/v1/files"
FRAMING = 64 << 10
"""What a multipart body holds beside the file."""


class BodyLimitMiddleware:
    """Pure ASGI. Content-Length is believed when it is too large; what comes is counted all the same."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_file_bytes: int) -> None:
        self._app = app
        self._limits = {True: max_file_bytes + FRAMING, False: max_body_bytes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        headers, upload = Headers(scope=scope), scope["path"] == UPLOADS
        limit = self._limits[upload]
        problem = _refusal(headers, upload=upload, limit=limit)
        if problem is not None:
            problem.headers = {"Connection": "close"}  # the body that follows is not read
            await problem_response(problem, scope["state"]["request_id"])(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)


def _refusal(headers: Headers, *, upload: bool, limit: int) -> Problem | None:
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit():
        return Problem(400, "bad-request", "Content-Length is not a number")
    if int(length) > limit:
        return http_problem(BodyTooLarge(limit))
    wanted = "multipart/form-data" if upload else "application/json"
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if (int(length) or "transfer-encoding" in headers) and given != wanted:
        return Problem(415, "unsupported-media-type", f"send the body as {wanted}")
    return None


def _counted(receive: Receive, limit: int) -> Receive:
    received = 0

    async def counting() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise BodyTooLarge(limit)
        return message

    return counting
