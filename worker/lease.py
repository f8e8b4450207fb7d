"""A worker's hold on a job: its fence, its end, and the only way to write under it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from core.records import leases
from core.records.leases import FenceLost
from core.records.retry import PAUSES, is_transient
from worker.log import LOGGER

log = logging.getLogger(LOGGER)

Sessions = async_sessionmaker[AsyncSession]
P = ParamSpec("P")
T = TypeVar("T")
Change = Callable[Concatenate[AsyncSession, str, int, P], Awaitable[T]]


class LeaseExpired(FenceLost):
    """The database could not be reached until the lease ran out: another worker may hold the job by now."""


class Lease:
    """One attempt's hold on its job. Times are of this process's monotonic clock, read before each renewal is sent."""

    def __init__(self, sessions: Sessions, job: str, fence: int, *, seconds: float, since: float) -> None:
        self.job = job
        self.fence = fence
        self._sessions = sessions
        self._seconds = seconds
        self._end = since + seconds

    def seconds_left(self) -> float:
        """Returns the seconds for which this worker surely still holds the job."""
        return self._end - time.monotonic()

    async def write(self, change: Change[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `change(session, job, fence, …)` in a transaction of its own.

        A lost connection is tried again for as long as the lease lasts, so `change` may happen twice: a second `finish`
        then raises FenceLost. Raises LeaseExpired when the lease has run out.
        """
        tries = 0
        while True:
            try:
                # half of the remaining time: a connection that hangs must leave time for a second one
                async with asyncio.timeout(max(self.seconds_left() / 2, 0)), self._sessions.begin() as session:
                    return await change(session, self.job, self.fence, *args, **kwargs)
            except Exception as error:
                if not is_transient(error):
                    raise
                pause = PAUSES[min(tries, len(PAUSES) - 1)]
                if self.seconds_left() <= pause:
                    raise LeaseExpired(self.job) from error
                log.warning("database not reached", extra={"job": self.job, "error": type(error).__qualname__})
            tries += 1
            await asyncio.sleep(pause)

    async def renew(self) -> str | None:
        """Extends the lease and returns the action that is requested of the job, or None."""
        before = time.monotonic()
        requested = await self.write(leases.renew, lease_seconds=self._seconds)
        self._end = before + self._seconds
        return requested
