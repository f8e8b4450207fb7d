"""What to do about a connection that broke: the same short step once more, if it may happen twice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

T = TypeVar("T")

PAUSES = (0.1, 0.2, 0.5, 1.0)
"""Seconds before each further try: long enough for a pooler that restarts, short enough for a caller who waits."""


def is_transient(error: BaseException) -> bool:
    """Whether the same statement may well succeed in a moment: the connection failed, not what was asked of it."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        # 08 connection, 57P shutdown of the server, 40 rollback by conflict, 53 out of resources
        return error.connection_invalidated or state[:2] in ("08", "40", "53") or state[:3] == "57P" or not state
    return isinstance(error, (OSError, TimeoutError, PoolTimeout))


async def retry_transient(step: Callable[[], Awaitable[T]]) -> T:
    """What `step` returns, tried once more after each of `PAUSES` while what it raises is transient.

    A step whose commit was not answered has perhaps happened: it must come to the same when it happens twice.
    """
    for pause in PAUSES:
        try:
            return await step()
        except Exception as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(pause)
    return await step()
