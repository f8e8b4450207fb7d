"""Waiting for an attempt's work to end, by itself or by an interruption."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from worker.settlement import Interruption, Result

STRONGEST_FIRST: tuple[Interruption, ...] = ("cancel", "shutdown", "pause")


async def wait_for_end(
    work: asyncio.Task[Result],
    renewal: asyncio.Task[None],
    requests: Mapping[Interruption, asyncio.Task[object]],
    interrupt: Callable[[Interruption], Awaitable[float | None]],
) -> Interruption | None:
    """Waits for the work or the lease to end, and passes on interruptions; returns the last one.

    `requests` end when an interruption is asked for. `interrupt` passes it to the child, and returns the seconds that
    the work may still take (None: all it needs). A stronger interruption replaces a weaker one. Work that does not end
    in time after it is cancelled, which kills the child.
    """
    current: Interruption | None = None
    end: float | None = None
    while True:
        stronger = STRONGEST_FIRST[: STRONGEST_FIRST.index(current)] if current else STRONGEST_FIRST
        left = None if end is None else max(0.0, end - time.monotonic())
        tasks = {work, renewal, *(requests[name] for name in stronger)}
        await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if work.done() or renewal.done():
            return current
        requested = next((name for name in stronger if requests[name].done()), None)
        if requested is None:
            work.cancel()
            await asyncio.wait({work})
            return current
        current, grace = requested, await interrupt(requested)
        end = None if grace is None else time.monotonic() + grace
