"""The outermost layer: the request's id, one line in the log, its figures, and what becomes of the unforeseen."""

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
    """An answer that had begun cannot be completed: the server closes the connection, so the client sees it."""


class RequestLoggingMiddleware:
    """Pure ASGI: bodies are neither read nor held. Neither bodies, queries nor keys are logged."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid7().hex
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        status, sent, began = 0, 0, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("X-Content-Type-Options", "nosniff")
                for name, value in state.get("answer_headers", {}).items():
                    headers[name] = value
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            log.info("client_left", request_id=request_id)
        except Exception as error:  # noqa: BLE001 - the one place where the unforeseen ends
            _log_failure(error, request_id)
            if status:
                raise ResponseAborted(request_id) from None
            await problem_response(Problem(500, "internal", "the service failed"), request_id)(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.observe(scope["method"], route, status, seconds, held=state.get("held", False))
            log.info(
                "request",
                request_id=request_id,
                method=scope["method"],
                route=route,
                status=status,
                milliseconds=round(seconds * 1000, 1),
                bytes=sent,
                key=state.get("key"),
            )


def _log_failure(error: BaseException, request_id: str) -> None:
    """Class and places, never the message: it may hold what was sent.

    What starlette raises for a failure after the answer's head hides the failure itself, which is its cause.
    """
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
    log.error("request_failed", request_id=request_id, error=type(error).__name__, places=places)
