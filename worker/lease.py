"""A worker's hold on a job, or on the jobs that share a run: fences, the end, and the only way to write under it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
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
    """One attempt's hold on its job, and on the companions that share its run, by their ids and fences.

    Times are of this process's monotonic clock, read before each renewal is sent.
    """

    def __init__(
        self,
        sessions: Sessions,
        job: str,
        fence: int,
        *,
        seconds: float,
        since: float,
        companions: Mapping[str, int] | None = None,
    ) -> None:
        self.job = job
        self.fence = fence
        self.fences = {job: fence, **(companions or {})}
        """The fences of all jobs, the leading one first."""
        self._sessions = sessions
        self._seconds = seconds
        self._end = since + seconds

    def seconds_left(self) -> float:
        """Returns the seconds for which this worker surely still holds the job."""
        return self._end - time.monotonic()

    @property
    def is_shared(self) -> bool:
        """Whether other jobs share the run."""
        return len(self.fences) > 1

    async def write(self, change: Change[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `change(session, job, fence, …)` for the job that leads the run, in a transaction of its own.

        A lost connection is tried again for as long as the lease lasts, so `change` may happen twice: a second `finish`
        then raises FenceLost. Raises LeaseExpired when the lease has run out.
        """
        return await self.commit(lambda session: change(session, self.job, self.fence, *args, **kwargs))

    async def write_to(self, job: str, change: Change[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `write`, for one of the jobs."""
        return await self.commit(lambda session: change(session, job, self.fences[job], *args, **kwargs))

    async def write_all(self, change: Change[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `write`, for all jobs in one transaction; returns the leading job's result."""

        async def change_all(session: AsyncSession) -> T:
            if self.is_shared:
                await leases.lock_jobs(session, self.fences)
            results = [await change(session, job, fence, *args, **kwargs) for job, fence in self.fences.items()]
            return results[0]

        return await self.commit(change_all)

    async def commit(self, step: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Runs `step(session)`, which locks the rows that it changes, in a transaction of its own, as `write` does."""
        tries = 0
        while True:
            try:
                # half of the remaining time: a connection that hangs must leave time for a second one
                async with asyncio.timeout(max(self.seconds_left() / 2, 0)), self._sessions.begin() as session:
                    return await step(session)
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
        """Extends the lease and returns the action that is requested of the job, or None.

        Where jobs share a run, any request to one of them ends the run for all: it is `cancel`.
        """
        before = time.monotonic()
        requested: dict[str, str | None] = {}

        async def renew_one(session: AsyncSession, job: str, fence: int) -> None:
            requested[job] = await leases.renew(session, job, fence, lease_seconds=self._seconds)

        await self.write_all(renew_one)
        self._end = before + self._seconds
        if self.is_shared:
            return "cancel" if any(requested.values()) else None
        return requested[self.job]
