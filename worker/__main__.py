"""`python -m worker`: a worker on this machine's devices, until SIGTERM or Ctrl-C. A second signal ends it at once."""

import logging
import signal
import sys
from importlib.metadata import version

import setproctitle
from celery import signals
from pydantic import ValidationError

from core.settings import settings
from core.storage import StorageError
from core.storage.key_store import open_key_store
from worker import log
from worker.app import Worker, make_app
from worker.child import child_environment
from worker.device_slots import DevicesError, DeviceSlots
from worker.identity import worker_id
from worker.job_loop import WorkerContext, register_task, threads_per_job
from worker.metrics import WorkerMetrics
from worker.prefork_pool import PreforkPool
from worker.shutdown import ShutdownEvent
from worker.sweeper import Sweeper
from worker.throughput import ThroughputMeter

_SWEEPER_SECONDS = 5.0


def main() -> int:
    """Runs the worker and returns its exit code."""
    try:
        configured = settings()
        configured.service_key()
        open_key_store(configured.key_store_url, storage_url=configured.storage_url)
        devices = DeviceSlots.from_settings(configured)
    except (ValidationError, ValueError, OSError, DevicesError, StorageError) as error:
        print(f"the worker cannot start: {error}", file=sys.stderr)
        return 2
    log.configure(configured.log_level)
    setproctitle.setproctitle(f"unlearn worker ({len(devices.gpus)} GPUs, {devices.max_jobs} slots)")
    app = make_app(configured.redis_url.get_secret_value())
    shutdown, threads = ShutdownEvent(), threads_per_job(configured, devices)
    prefork_pool = None
    if configured.worker_warm_children:
        folder = configured.scratch_dir.absolute()
        prefork_pool = PreforkPool(child_environment(gpus=(), threads=threads, folder=folder), shutdown)
        prefork_pool.start()
    metrics = WorkerMetrics(version=version("unlearning-service"))
    if configured.worker_metrics_port is not None:
        try:
            metrics.serve(configured.worker_metrics_port, configured.worker_metrics_address)
        except OSError as error:
            print(f"the worker cannot start: WORKER_METRICS_PORT cannot be had: {error.strerror}", file=sys.stderr)
            return 2
    meter = None
    if configured.worker_throughput:
        meter = ThroughputMeter(configured, devices, threads, shutdown, prefork_pool)
    context = WorkerContext(worker_id(), configured, devices, shutdown, threads, prefork_pool, metrics, meter)
    register_task(app, context)

    def stop(**_: object) -> None:
        shutdown.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

    def keep_logging(**_: object) -> None:
        """Does nothing: while this signal has a receiver, Celery leaves the log as it is."""

    signals.setup_logging.connect(keep_logging, weak=False)
    signals.worker_shutting_down.connect(stop, weak=False)
    sweeper = Sweeper(app, context)
    sweeper.start()
    if meter is not None:
        meter.start()
    logging.getLogger(log.LOGGER).info(
        "worker starts", extra={"worker": context.worker, "gpus": devices.gpus, "slots": devices.max_jobs}
    )
    worker = Worker(
        app=app,
        hostname=f"unlearn@{context.worker}",
        pool="threads",
        concurrency=devices.max_jobs,
        queues=devices.queues,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    shutdown.set()
    sweeper.join(_SWEEPER_SECONDS)
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
