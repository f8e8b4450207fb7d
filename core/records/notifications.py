"""Notifications of changed jobs: one LISTEN connection, fanned out to the waiters of each job."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from sqlalchemy.ext.asyncio import AsyncEngine

RETRY_SECONDS = 1.0
PROBE_SECONDS = 15.0
"""Seconds after which a connection that died silently is noticed."""


class Notifications:
    """Listens from `start` to `stop`. While the connection is down, each attempt to connect wakes every waiter:
    notifications sent meanwhile are lost, so each waiter must look for itself."""

    def __init__(
        self, engine: AsyncEngine, channel: str, *, application: str, on_disconnect: Callable[[Exception], None]
    ) -> None:
        """`application` names it in pg_stat_activity; `on_disconnect` gets the error of a lost connection."""
        self._engine = engine
        self._channel = channel
        self._application = application
        self._on_disconnect = on_disconnect
        self._watches: defaultdict[str, set[Watch]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()

    def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="notifications")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self.connected.clear()

    def watch(self, job: str) -> "Watch":
        """A watch on the job: inside `async with notifications.watch(job) as watch`, no change of it is missed."""
        return Watch(self, job)

    async def _listen(self) -> None:
        while True:
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 - after any error of the driver, connect again
                self._on_disconnect(error)
            self.connected.clear()
            self._wake_all()
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        """Listens on one connection until it ends."""
        async with self._engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            terminated = asyncio.Event()
            driver.add_termination_listener(lambda _: terminated.set())
            await driver.execute("SELECT set_config('application_name', $1, false)", self._application)
            await driver.add_listener(self._channel, lambda *arguments: self._wake(arguments[-1]))
            self.connected.set()
            self._wake_all()
            try:
                while not terminated.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(terminated.wait(), PROBE_SECONDS)
                    if not terminated.is_set():
                        await asyncio.wait_for(driver.execute("SELECT 1"), PROBE_SECONDS)
            finally:
                await connection.invalidate()  # a listening connection must not go back to the pool

    def _wake(self, job: str) -> None:
        for watch in self._watches.get(job, ()):
            watch.event.set()

    def _wake_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.event.set()

    def _add(self, watch: "Watch") -> None:
        self._watches[watch.job].add(watch)

    def _remove(self, watch: "Watch") -> None:
        watches = self._watches[watch.job]
        watches.discard(watch)
        if not watches:
            del self._watches[watch.job]


class Watch:
    """One waiter for changes of one job."""

    def __init__(self, notifications: Notifications, job: str) -> None:
        self._notifications = notifications
        self.job = job
        self.event = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._notifications._add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._notifications._remove(self)

    async def changed(self, seconds: float) -> bool:
        """Waits until the job may have changed since the last call (or since the watch began); False: time is up."""
        try:
            await asyncio.wait_for(self.event.wait(), seconds)
        except TimeoutError:
            return False
        self.event.clear()
        return True
