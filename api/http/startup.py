"""Steps that need the database, and the key store, taken once before the process is ready."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.storage import StorageError

RETRY_SECONDS = 1.0

log = structlog.get_logger()


class Startup:
    """Takes the steps in order, and takes all of them again where the database fails one.

    A database that is down or not migrated does not stop the process: it answers requests and reports that it is not
    ready until `complete` is true.
    """

    def __init__(self, steps: Sequence[Callable[[], Awaitable[None]]]) -> None:
        self._steps = steps
        self._task: asyncio.Task[None] | None = None
        self.complete = False

    async def start(self) -> None:
        """Returns after the first attempt; a failed attempt is repeated in the background."""
        if not await self._attempt():
            self._task = asyncio.create_task(self._retry(), name="startup")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if await self._attempt():
                return

    async def _attempt(self) -> bool:
        try:
            for step in self._steps:
                await step()
        except (SQLAlchemyError, StorageError, OSError) as error:
            log.warning("not_prepared", error=type(error).__name__)
            return False
        self.complete = True
        return True
