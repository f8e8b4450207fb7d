"""The sweeper, a thread in every worker: publishes hints, takes back lost workers' jobs, deletes what has expired."""

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
from core.storage.file_keys import FileKeys
from core.storage.key_store import open_key_store
from worker import app as broker
from worker import collector
from worker.job_loop import WorkerContext
from worker.lease import Sessions
from worker.log import LOGGER, error_fields

log = logging.getLogger(LOGGER)

RELAY_SECONDS = 0.5
"""The longest that a new job waits for its hint."""
COLLECT_SECONDS = 600.0
"""Collecting lists all checkpoints of the storage and all keys of the key store, so it is rare."""
STALE_SWEEPS = 6

BROKER_DOWN = (KombuError, RedisError, OSError)


class Sweeper(threading.Thread):
    """Runs until the worker stops. While Redis is down, hints wait in their table; all else goes on."""

    def __init__(self, app: Celery, context: WorkerContext) -> None:
        super().__init__(name="sweeper", daemon=True)
        self._app = app
        self._context = context
        self._settings = context.settings
        self._broker_up = True

    def run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        engine = make_engine(self._settings.database_url.get_secret_value(), pool_size=3)
        try:
            sessions = async_sessionmaker(engine, expire_on_commit=False)
            storage = open_storage(self._settings.storage_url, engine)
            key_store = open_key_store(self._settings.key_store_url, storage_url=self._settings.storage_url)
            keys = FileKeys(self._settings.service_key(), key_store)
            interval, scratch = self._settings.sweep_seconds, self._settings.scratch_dir
            await asyncio.gather(
                self._repeat("sign of life", interval, lambda: self._mark_up(sessions)),
                self._repeat("relay", RELAY_SECONDS, lambda: self._relay(sessions)),
                self._repeat("sweep", interval, lambda: sweep(sessions, max_failures=self._settings.max_failures)),
                self._repeat("hints", interval, lambda: self._hint_again(sessions)),
                self._repeat("files", 10 * interval, lambda: collector.collect_files(sessions, storage, keys)),
                self._repeat("uploads", COLLECT_SECONDS, lambda: collector.collect_uploads(sessions, storage, keys)),
                self._repeat("checkpoints", COLLECT_SECONDS, lambda: collector.collect_checkpoints(sessions, storage)),
                self._repeat("scratch", 10 * interval, lambda: collector.collect_scratch(sessions, scratch)),
                self._repeat("snapshots", 10 * interval, lambda: collector.collect_snapshots(sessions, scratch, keys)),
                self._repeat("snapshot keys", COLLECT_SECONDS, lambda: collector.collect_snapshot_keys(sessions, keys)),
                self._repeat("samples", 10 * interval, lambda: collector.collect_samples(sessions, scratch)),
            )
            async with sessions.begin() as session:
                await workers.mark_stopped(session, worker=self._context.worker)
        finally:
            await engine.dispose()

    async def _repeat(self, name: str, seconds: float, step: Callable[[], Awaitable[object]]) -> None:
        """Repeats a step until the worker stops. A step that fails is tried again in its turn."""
        while not self._context.shutdown:
            pause = seconds
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - the error of one step must not end the others
                log.warning("sweeping step failed", extra={"step": name, **error_fields(error)})
                pause = max(seconds, self._settings.sweep_seconds)
            await self._context.shutdown.wait(pause)

    async def _mark_up(self, sessions: Sessions) -> None:
        devices = self._context.devices
        async with sessions.begin() as session:
            await workers.mark_up(
                session,
                worker=self._context.worker,
                slots=devices.max_jobs,
                gpus=len(devices.gpus),
                throughput=self._context.throughput.measured if self._context.throughput else None,
            )

    async def _relay(self, sessions: Sessions) -> None:
        """Publishes the hints of the outbox; while the broker is down, tries only once per sweep."""
        try:
            async with sessions.begin() as session:
                await outbox.relay(session, self._publish)
        except BROKER_DOWN as error:
            self._broker_lost(error)
            await self._context.shutdown.wait(self._settings.sweep_seconds)
        else:
            self._broker_up = True

    async def _hint_again(self, sessions: Sessions) -> None:
        """Publishes hints again for jobs that wait though they could run, unless unfetched hints are in the queue.

        One hint for each worker that could take the job: a busy worker may fetch a hint and find no free device.
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
    """Takes back jobs whose lease ran out and deletes expired idempotency keys, unless another worker is doing so."""
    async with sessions.begin() as session:
        if not await lease_recovery.try_sweeper_lock(session):
            return []
        taken = await lease_recovery.recover_expired(session, max_failures=max_failures)
        await idempotency.delete_expired(session)
    for job in taken:
        log.warning("lease ran out, job taken back", extra={"job": job})
    return taken
