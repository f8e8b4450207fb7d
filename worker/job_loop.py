"""What a thread does with a hint: it takes jobs off the queue in Postgres until none is left for it."""

import asyncio
import logging
import os
from dataclasses import dataclass

from celery import Celery
from sqlalchemy.ext.asyncio import async_sessionmaker

from core.queue import HINT_TASK
from core.records.engine import make_engine
from core.records.events import REQUESTS
from core.records.notifications import Notifications
from core.settings import Settings
from core.storage import Storage, open_storage
from worker.device_slots import Devices, DeviceSlots
from worker.lease import Sessions
from worker.log import LOGGER, error_fields
from worker.metrics import WorkerMetrics
from worker.prefork_pool import PreforkPool
from worker.shutdown import ShutdownEvent
from worker.supervisor import Attempt, claim_job

log = logging.getLogger(LOGGER)

_CONNECTIONS = 4
"""Per job: one renews the lease, one writes what the child says, one moves bytes, one listens for requests."""


@dataclass(frozen=True)
class WorkerContext:
    """What the threads of one worker share."""

    worker: str
    settings: Settings
    machine: DeviceSlots
    stopping: ShutdownEvent
    threads: int
    """CPU threads of a child."""
    warm: PreforkPool | None = None
    metrics: WorkerMetrics | None = None


def threads_per_job(settings: Settings, machine: DeviceSlots) -> int:
    """CPU threads of a child: the machine's, shared out over the jobs at a time."""
    return settings.job_threads or max(1, (os.cpu_count() or 1) // machine.slots)


def register_task(app: Celery, station: WorkerContext) -> None:
    """Registers the one task. It takes whatever comes with a hint, and needs none of it."""

    @app.task(name=HINT_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def work(**_: object) -> None:
        try:
            asyncio.run(take_jobs(station))
        except Exception:
            # the hint is spent, the job is not: the sweeper hints again
            log.exception("a hint led to nothing")


async def take_jobs(station: WorkerContext) -> int:
    """Claims and attends to jobs until none is left for this worker or it is told to stop; returns how many."""
    settings = station.settings
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=_CONNECTIONS)
    try:
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        storage = open_storage(settings.storage_url, engine)
        done = 0
        requests = Notifications(
            engine, REQUESTS, application=f"unlearning worker {station.worker}", on_disconnect=_lost
        )
        while not station.stopping and await _take_one(station, sessions, storage, requests):
            done += 1
        return done
    finally:
        await engine.dispose()


def _lost(error: Exception) -> None:
    log.warning("notifications lost: requests reach jobs at the next heartbeat", extra=error_fields(error))


async def _take_one(station: WorkerContext, sessions: Sessions, storage: Storage, requests: Notifications) -> bool:
    for gpus in station.machine.classes:
        devices = station.machine.take(gpus)
        if devices is None:
            continue
        try:
            if await _attend(station, devices, gpus, sessions, storage, requests):
                return True
        finally:
            devices.release()
    return False


async def _attend(
    station: WorkerContext, devices: Devices, gpus: int, sessions: Sessions, storage: Storage, requests: Notifications
) -> bool:
    settings = station.settings
    claimed = await claim_job(sessions, worker=station.worker, gpus=gpus, lease_seconds=settings.lease_seconds)
    if claimed is None:
        return False
    job, since = claimed
    attempt = Attempt(
        job,
        devices,
        since=since,
        sessions=sessions,
        storage=storage,
        settings=settings,
        threads=station.threads,
        stopping=station.stopping,
        requests=requests,
        metrics=station.metrics,
        warm=station.warm,
    )
    requests.start()
    try:
        await attempt.attend()
    finally:
        await requests.stop()
    return True
