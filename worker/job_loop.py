"""The loop of a thread that has received a hint: it claims jobs in Postgres until none is left for this worker."""

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
from worker.claim import claim_job
from worker.device_slots import Devices, DeviceSlots
from worker.lease import Sessions
from worker.log import LOGGER, error_fields
from worker.metrics import WorkerMetrics
from worker.prefork_pool import PreforkPool
from worker.shutdown import ShutdownEvent
from worker.supervisor import Attempt
from worker.throughput import ThroughputMeter

log = logging.getLogger(LOGGER)

_CONNECTIONS = 4
"""Connections of a job: for the lease, for the child's events, for moving bytes, for listening to requests."""


@dataclass(frozen=True)
class WorkerContext:
    """The objects that all threads of one worker share."""

    worker: str
    """The worker's id."""
    settings: Settings
    devices: DeviceSlots
    shutdown: ShutdownEvent
    threads: int
    """CPU threads of each child."""
    prefork_pool: PreforkPool | None = None
    metrics: WorkerMetrics | None = None
    throughput: ThroughputMeter | None = None


def threads_per_job(settings: Settings, devices: DeviceSlots) -> int:
    """Returns the CPU threads of each child: the setting, else an equal share of the machine's."""
    return settings.job_threads or max(1, (os.cpu_count() or 1) // devices.max_jobs)


def register_task(app: Celery, context: WorkerContext) -> None:
    """Registers the application's only task. It accepts any arguments of a hint and needs none."""

    @app.task(name=HINT_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def work(**_: object) -> None:
        try:
            asyncio.run(take_jobs(context))
        except Exception:
            # the hint is lost, the job is not: the sweeper publishes hints again
            log.exception("a hint led to nothing")


async def take_jobs(context: WorkerContext) -> int:
    """Claims and attends to jobs until none is left for this worker, or it shuts down; returns the number of jobs."""
    settings = context.settings
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=_CONNECTIONS)
    try:
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        storage = open_storage(settings.storage_url, engine)
        done = 0
        requests = Notifications(
            engine,
            REQUESTS,
            application=f"unlearning worker {context.worker}",
            on_disconnect=_log_disconnect,
        )
        while not context.shutdown and await _take_one(context, sessions, storage, requests):
            done += 1
        return done
    finally:
        await engine.dispose()


def _log_disconnect(error: Exception) -> None:
    log.warning("notifications lost: requests reach jobs at the next heartbeat", extra=error_fields(error))


async def _take_one(context: WorkerContext, sessions: Sessions, storage: Storage, requests: Notifications) -> bool:
    """Takes devices and attends to one job for them; returns False where no job is left that has free devices."""
    for gpus in context.devices.gpu_counts:
        devices = context.devices.take(gpus)
        if devices is None:
            continue
        try:
            if await _claim_and_attend(context, devices, gpus, sessions, storage, requests):
                return True
        finally:
            devices.release()
    return False


async def _claim_and_attend(
    context: WorkerContext, devices: Devices, gpus: int, sessions: Sessions, storage: Storage, requests: Notifications
) -> bool:
    settings = context.settings
    claimed = await claim_job(sessions, worker=context.worker, gpus=gpus, lease_seconds=settings.lease_seconds)
    if claimed is None:
        return False
    attempt = Attempt(
        claimed,
        devices,
        sessions=sessions,
        storage=storage,
        settings=settings,
        threads=context.threads,
        shutdown=context.shutdown,
        requests=requests,
        metrics=context.metrics,
        prefork_pool=context.prefork_pool,
    )
    requests.start()
    try:
        await attempt.attend()
    finally:
        await requests.stop()
    return True
