"""A thread in every worker that keeps the service moving: publishes hints, takes back lost jobs, clears away."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import async_sessionmaker

from core.queue import queue_name
from core.records import idempotency, lease_recovery, outbox, workers
from core.records.engine import make_engine
from core.storage import open_storage
from worker import app as broker
from worker import collector
from worker.job_loop import WorkerContext
from worker.lease import Sessions
from worker.log import LOGGER, error_fields

log = logging.getLogger(LOGGER)

RELAY_SECONDS = 0.5
"""A new job waits so long for its hint at most."""
COLLECT_SECONDS = 600.0
"""Clearing away lists all checkpoints of the storage, so it is rare."""
STALE_SWEEPS = 6

BROKER_DOWN = (KombuError, RedisError, OSError)


class Sweeper(threading.Thread):
    """Runs until the worker stops. Redis away: hints wait in their table, all else goes on."""

    def __init__(self, app: Celery, station: WorkerContext) -> None:
        super().__init__(name="sweeper", daemon=True)
        self._app = app
        self._station = station
        self._settings = station.settings
        self._broker_up = True

    def run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        engine = make_engine(self._settings.database_url.get_secret_value(), pool_size=3)
        try:
            sessions = async_sessionmaker(engine, expire_on_commit=False)
            storage = open_storage(self._settings.storage_url, engine)
            every, scratch = self._settings.sweep_seconds, self._settings.scratch_dir
            await asyncio.gather(
                self._repeat("sign of life", every, lambda: self._here_i_am(sessions)),
                self._repeat("relay", RELAY_SECONDS, lambda: self._relay(sessions)),
                self._repeat("sweep", every, lambda: sweep(sessions, max_failures=self._settings.max_failures)),
                self._repeat("hints", every, lambda: self._hint_again(sessions)),
                self._repeat("files", 10 * every, lambda: collector.collect_files(sessions, storage)),
                self._repeat("uploads", COLLECT_SECONDS, lambda: collector.collect_uploads(sessions, storage)),
                self._repeat("checkpoints", COLLECT_SECONDS, lambda: collector.collect_checkpoints(sessions, storage)),
                self._repeat("scratch", 10 * every, lambda: collector.collect_scratch(sessions, scratch)),
                self._repeat("snapshots", 10 * every, lambda: collector.collect_snapshots(sessions, scratch)),
            )
            async with sessions.begin() as session:
                await workers.mark_stopped(session, worker=self._station.worker)
        finally:
            await engine.dispose()

    async def _repeat(self, name: str, seconds: float, step: Callable[[], Awaitable[object]]) -> None:
        """Does a step again and again until the worker stops; a step that fails is tried again in its turn."""
        while not self._station.stopping:
            pause = seconds
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - one step's trouble must not end the others
                log.warning("sweeping step failed", extra={"step": name, **error_fields(error)})
                pause = max(seconds, self._settings.sweep_seconds)
            await self._station.stopping.wait(pause)

    async def _here_i_am(self, sessions: Sessions) -> None:
        machine = self._station.machine
        async with sessions.begin() as session:
            await workers.mark_up(session, worker=self._station.worker, slots=machine.slots, gpus=len(machine.gpus))

    async def _relay(self, sessions: Sessions) -> None:
        """Publishes what is in the outbox; while the broker is away, asks only once per sweep."""
        try:
            async with sessions.begin() as session:
                await outbox.relay(session, self._publish)
        except BROKER_DOWN as error:
            self._broker_lost(error)
            await self._station.stopping.wait(self._settings.sweep_seconds)
        else:
            self._broker_up = True

    async def _hint_again(self, sessions: Sessions) -> None:
        """Publishes hints for jobs that wait though they could run, unless some are waiting to be fetched already.

        One per worker that could take it: a thread of a busy one may fetch a hint and find no device free.
        """
        stale = STALE_SWEEPS * self._settings.sweep_seconds
        async with sessions() as session:
            workers_up = {
                gpus: await workers.count_up(session, gpus=gpus, stale_seconds=stale)
                for gpus in await lease_recovery.claimable_gpu_counts(session)
            }
        try:
            for gpus, count in workers_up.items():
                topic = queue_name(gpus)
                if await asyncio.to_thread(broker.pending_hints, self._app, topic) == 0:
                    for _ in range(max(count, 1)):
                        await self._publish(topic, {})
        except BROKER_DOWN as error:
            self._broker_lost(error)

    async def _publish(self, topic: str, payload: dict[str, Any]) -> None:
        await asyncio.to_thread(broker.publish_hint, self._app, topic, payload)

    def _broker_lost(self, error: Exception) -> None:
        if self._broker_up:
            log.warning("the broker does not take hints; they wait", extra={"error": type(error).__qualname__})
        self._broker_up = False


async def sweep(sessions: Sessions, *, max_failures: int) -> list[str]:
    """Takes back jobs whose lease ran out and forgets old idempotency keys, if no other worker is at it."""
    async with sessions.begin() as session:
        if not await lease_recovery.try_sweeper_lock(session):
            return []
        taken = await lease_recovery.recover_expired(session, max_failures=max_failures)
        await idempotency.delete_expired(session)
    for job in taken:
        log.warning("lease ran out, job taken back", extra={"job": job})
    return taken
