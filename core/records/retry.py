"""Retries of a short step whose connection to the database broke."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

T = TypeVar("T")

PAUSES = (0.1, 0.2, 0.5, 1.0)
"""Seconds before each retry: long enough for a pooler that restarts, short enough for a caller who waits."""

_NOT_MIGRATED = ("42P01", "42703", "42501")
"""SQLSTATEs (PostgreSQL, appendix A): an undefined table, an undefined column, rights that are not granted yet."""


def is_transient(error: BaseException) -> bool:
    """Whether the same statement may succeed in a moment: the connection or the server failed, not the statement."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        # 08 connection, 57P shutdown of the server, 40 rollback by conflict, 53 out of resources
        return error.connection_invalidated or state[:2] in ("08", "40", "53") or state[:3] == "57P" or not state
    return isinstance(error, (OSError, TimeoutError, PoolTimeout))


def is_outage(error: BaseException) -> bool:
    """Whether the error passes without a change of the code: `is_transient`, or migrations that are still to come.

    A process that serves before the database is migrated waits for that.
    """
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return is_transient(error) or state in _NOT_MIGRATED


async def retry_transient(step: Callable[[], Awaitable[T]]) -> T:
    """Returns the step's result; after a transient error, tries again after each of `PAUSES`.

    The step must be idempotent: where the answer to its commit was lost, it may have happened already.
    """
    for pause in PAUSES:
        try:
            return await step()
        except Exception as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(pause)
    return await step()
