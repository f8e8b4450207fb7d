"""What a process does once before it is ready: at its start, or as soon as the database is there."""

import asyncio
from contextlib import suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.auth import accept, operator_keys
from api.dependencies import Context

RETRY_SECONDS = 1.0

log = structlog.get_logger()


class Startup:
    """Accepts the operator's key files and takes on models that are still being fetched.

    A database that is down or not migrated does not stop the process: it answers, says that it is not ready, and
    tries again.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._keys = operator_keys(context.settings)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns after the first attempt, whatever came of it."""
        if not await self._attempt():
            self._task = asyncio.create_task(self._go_on(), name="preparation")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if await self._attempt():
                return

    async def _attempt(self) -> bool:
        try:
            for file in self._keys:
                await accept(self._context, file)
            await self._context.registrar.resume()
        except (SQLAlchemyError, OSError) as error:
            log.warning("not_prepared", error=type(error).__name__)
            return False
        self._context.prepared = True
        return True
