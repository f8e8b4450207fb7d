"""Retries of a short step whose connection to the database broke."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

T = TypeVar("T")

PAUSES = (0.1, 0.2, 0.5, 1.0)
"""Seconds before each retry: long enough for a pooler that restarts, short enough for a caller who waits."""

GRANT_SECONDS = 60.0
"""The longest that a process waits for its rights: `unlearn migrate` grants them right after its migrations."""

_NOT_MIGRATED = ("42P01", "42703")
"""SQLSTATEs (PostgreSQL, appendix A): an undefined table, an undefined column."""
_NOT_GRANTED = "42501"
"""SQLSTATE of an insufficient privilege: rights that are to be granted in a moment, or that are missing for good."""


def is_transient(error: BaseException) -> bool:
    """Whether the same statement may succeed in a moment: the connection or the server failed, not the statement."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        # 08 connection, 57P shutdown of the server, 40 rollback by conflict, 53 out of resources, 55 not ready, locked
        # (55000: a database that accepts no connections, as while it is restored)
        return error.connection_invalidated or state[:2] in ("08", "40", "53", "55") or state[:3] == "57P" or not state
    return isinstance(error, (OSError, TimeoutError, PoolTimeout))


def is_outage(error: BaseException) -> bool:
    """Returns whether the error passes without a change of the code: `is_transient`, or migrations still to come.

    A process that serves before the database is migrated waits for that.
    """
    return is_transient(error) or _sqlstate(error) in _NOT_MIGRATED


def lacks_rights(error: BaseException) -> bool:
    """Returns whether the error says that the role of this connection lacks a right in the database."""
    return _sqlstate(error) == _NOT_GRANTED


class OutageWait:
    """The errors that a process waits out while it serves: outages, and for a bounded time rights not granted yet."""

    def __init__(self, *, grant_seconds: float = GRANT_SECONDS) -> None:
        self._grant_seconds = grant_seconds
        self._refused_since: float | None = None

    def covers(self, error: BaseException) -> bool:
        """Returns whether to try again after it. A missing right counts for `grant_seconds` from the first refusal."""
        if not lacks_rights(error):
            return is_outage(error)
        now = time.monotonic()
        if self._refused_since is None:
            self._refused_since = now
        return now - self._refused_since < self._grant_seconds


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


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
