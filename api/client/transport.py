"""The two ways to perform an operation's steps: blocking, and awaiting. They do the same, side by side."""

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing
from importlib.metadata import version
from typing import Any

import httpx

from api.client.call import Call
from api.client.errors import UnlearningError, redirected, request_error, service_error
from api.client.retries import Retries
from api.client.steps import Emit, Items, Open, Pause, Read, Result, S, Send, Sleep, Step, Steps, T, Work, advance, fail
from api.client.threaded_stream import ThreadedStream

TIMEOUT = httpx.Timeout(60.0, read=90.0)
"""Seconds. Reading takes longest: the service may hold an answer for a minute, and a stream is silent for 15 s."""


class BlockingTransport:
    """Performs the steps of an operation and returns when they are done."""

    def __init__(self, url: str, key: str, retries: Retries) -> None:
        self.http = httpx.Client(**_options(url, key))
        self.retries = retries

    def run(self, steps: Steps[T]) -> T:
        """Performs an operation and returns its result."""
        with closing(steps), closing(_BlockingSteps(self.http, self.retries)) as performer:
            step = advance(steps)
            while not isinstance(step, Result):
                step = performer.next_step(steps, step)
            return step.value

    def items(self, steps: Items[T]) -> Iterator[T]:
        """Performs an operation and yields the items that it emits."""
        with closing(steps), closing(_BlockingSteps(self.http, self.retries)) as performer:
            step = advance(steps)
            while not isinstance(step, Result):
                if isinstance(step, Emit):
                    yield step.item
                    step = advance(steps)
                else:
                    step = performer.next_step(steps, step)


class _BlockingSteps:
    """Performs single steps of one operation. At most one answer is open at a time."""

    def __init__(self, http: httpx.Client, retries: Retries) -> None:
        self._http, self._retries = http, retries
        self._answer: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def next_step(self, steps: Generator[S, Any, T], step: Step) -> S | Result[T]:
        try:
            reply = self._perform(step)
        except (httpx.RequestError, httpx.InvalidURL) as failure:
            return fail(steps, request_error(failure))
        except UnlearningError as error:
            return fail(steps, error)
        return advance(steps, reply)

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()

    def _perform(self, step: Step) -> Any:
        match step:
            case Send(call):
                return _checked(self._http.send(_request(self._http, call)))
            case Open(call, follow):
                self.close()
                self._answer = self._http.send(_request(self._http, call), stream=True, follow_redirects=follow)
                if self._answer.is_error:
                    self._answer.read()
                self._pieces = self._answer.iter_bytes()
                return _checked(self._answer)
            case Read():
                return next(self._pieces, None)
            case Pause(failures, error, deadline):
                time.sleep(deadline.within(self._retries.pause(failures, error)))
                deadline.check()
            case Sleep(seconds):
                time.sleep(seconds)
            case Work(function):
                return function()
        return None


class AsyncTransport:
    """Performs the steps of an operation while other tasks of the event loop go on."""

    def __init__(self, url: str, key: str, retries: Retries) -> None:
        self.http = httpx.AsyncClient(**_options(url, key))
        self.retries = retries

    async def run(self, steps: Steps[T]) -> T:
        """Performs an operation and returns its result."""
        async with aclosing(_AsyncSteps(self.http, self.retries)) as performer:
            with closing(steps):
                step = advance(steps)
                while not isinstance(step, Result):
                    step = await performer.next_step(steps, step)
                return step.value

    async def items(self, steps: Items[T]) -> AsyncIterator[T]:
        """Performs an operation and yields the items that it emits."""
        async with aclosing(_AsyncSteps(self.http, self.retries)) as performer:
            with closing(steps):
                step = advance(steps)
                while not isinstance(step, Result):
                    if isinstance(step, Emit):
                        yield step.item
                        step = advance(steps)
                    else:
                        step = await performer.next_step(steps, step)


class _AsyncSteps:
    """Performs single steps of one operation. At most one answer is open at a time."""

    def __init__(self, http: httpx.AsyncClient, retries: Retries) -> None:
        self._http, self._retries = http, retries
        self._answer: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] = _nothing()

    async def next_step(self, steps: Generator[S, Any, T], step: Step) -> S | Result[T]:
        try:
            reply = await self._perform(step)
        except (httpx.RequestError, httpx.InvalidURL) as failure:
            return fail(steps, request_error(failure))
        except UnlearningError as error:
            return fail(steps, error)
        return advance(steps, reply)

    async def aclose(self) -> None:
        if self._answer is not None:
            await self._answer.aclose()

    async def _perform(self, step: Step) -> Any:
        match step:
            case Send(call):
                request = _request(self._http, call)
                if call.upload is not None and isinstance(request.stream, httpx.SyncByteStream):
                    request.stream = ThreadedStream(request.stream)
                return _checked(await self._http.send(request))
            case Open(call, follow):
                await self.aclose()
                self._answer = await self._http.send(_request(self._http, call), stream=True, follow_redirects=follow)
                if self._answer.is_error:
                    await self._answer.aread()
                self._pieces = self._answer.aiter_bytes()
                return _checked(self._answer)
            case Read():
                return await anext(self._pieces, None)
            case Pause(failures, error, deadline):
                await asyncio.sleep(deadline.within(self._retries.pause(failures, error)))
                deadline.check()
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Work(function):
                return await asyncio.to_thread(function)
        return None


def _options(url: str, key: str) -> dict[str, Any]:
    try:
        base_url = httpx.URL(url)
    except httpx.InvalidURL as failure:
        raise request_error(failure) from None
    agent = f"unlearning-client/{version('unlearning-service')}"
    return {
        "base_url": base_url,
        "headers": {"Authorization": f"Bearer {key}", "User-Agent": agent},
        "timeout": TIMEOUT,
    }


def _request(http: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
    """Returns the request, anew for each attempt: what was sent of an upload is sent again."""
    upload = call.upload
    if upload is not None:
        upload.file.seek(0)
    return http.build_request(
        call.method,
        call.path,
        params=call.query_text(),
        headers=call.headers,
        content=call.content(),
        data=None if upload is None else {"purpose": upload.purpose},
        files=None if upload is None else {"file": (upload.filename, upload.file)},
    )


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        raise service_error(answer)
    if 300 <= answer.status_code < 400 and answer.status_code != httpx.codes.NOT_MODIFIED:
        raise redirected(answer)
    return answer


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
