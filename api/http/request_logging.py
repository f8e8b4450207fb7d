"""The outermost middleware: request ids, one log line and metrics per request, and the answer to unknown errors."""

import re
import time
import traceback
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import Problem, problem_response
from api.http.prometheus import Metrics
from core.schema.ids import uuid7

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

log = structlog.get_logger()


class ResponseAborted(Exception):
    """An answer that had begun cannot be completed. The server closes the connection, so that the client notices."""


class RequestLoggingMiddleware:
    """Pure ASGI, without reading or storing bodies. Logs no bodies, no queries and no keys."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client_id = Headers(scope=scope).get("x-request-id", "")
        request_id = client_id if REQUEST_ID.fullmatch(client_id) else uuid7().hex
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        status, sent_bytes, start = 0, 0, time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("X-Content-Type-Options", "nosniff")
                for name, value in state.get("answer_headers", {}).items():
                    headers[name] = value
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            log.info("client_left", request_id=request_id)
        except Exception as error:  # noqa: BLE001 - the one place that answers unknown errors
            _log_failure(error, request_id)
            if status:
                raise ResponseAborted(request_id) from None
            response = problem_response(Problem(500, "internal", "the service failed"), request_id)
            await response(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.observe(scope["method"], route, status, seconds, held=state.get("held", False))
            log.info(
                "request",
                request_id=request_id,
                method=scope["method"],
                route=route,
                status=status,
                milliseconds=round(seconds * 1000, 1),
                bytes=sent_bytes,
                key=state.get("key"),
            )


def _log_failure(error: BaseException, request_id: str) -> None:
    """Logs the error's class and stack, never its message, which may quote the request.

    An error after the answer's head reaches this point as the cause of a RuntimeError of starlette.
    """
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
    log.error("request_failed", request_id=request_id, error=type(error).__name__, places=places)
