"""`python -m worker`: a worker on this machine's devices, until SIGTERM or Ctrl-C. A second one ends it at once."""

import logging
import signal
import sys
from importlib.metadata import version

import setproctitle
from celery import signals
from pydantic import ValidationError

from core.settings import settings
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

_SWEEPER_SECONDS = 5.0


def main() -> int:
    """Runs the worker and returns its exit code."""
    try:
        configured = settings()
        configured.service_key()
        machine = DeviceSlots.of(configured)
    except (ValidationError, ValueError, OSError, DevicesError) as error:
        print(f"the worker cannot start: {error}", file=sys.stderr)
        return 2
    log.configure(configured.log_level)
    setproctitle.setproctitle(f"unlearn worker ({len(machine.gpus)} GPUs, {machine.slots} slots)")
    app = make_app(configured.redis_url.get_secret_value())
    stopping, threads = ShutdownEvent(), threads_per_job(configured, machine)
    warm = None
    if configured.worker_warm_children:
        folder = configured.scratch_dir.absolute()
        warm = PreforkPool(child_environment(gpus=(), threads=threads, folder=folder), stopping)
        warm.start()
    metrics = WorkerMetrics(version=version("unlearning-service"))
    if configured.worker_metrics_port is not None:
        try:
            metrics.serve(configured.worker_metrics_port, configured.worker_metrics_address)
        except OSError as error:
            print(f"the worker cannot start: WORKER_METRICS_PORT cannot be had: {error.strerror}", file=sys.stderr)
            return 2
    station = WorkerContext(worker_id(), configured, machine, stopping, threads, warm, metrics)
    register_task(app, station)

    def stop(**_: object) -> None:
        station.stopping.begin()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

    def keep_logging(**_: object) -> None:
        """Somebody listens, so Celery leaves the log as it is."""

    signals.setup_logging.connect(keep_logging, weak=False)
    signals.worker_shutting_down.connect(stop, weak=False)
    sweeper = Sweeper(app, station)
    sweeper.start()
    logging.getLogger(log.LOGGER).info(
        "worker starts", extra={"worker": station.worker, "gpus": machine.gpus, "slots": machine.slots}
    )
    worker = Worker(
        app=app,
        hostname=f"unlearn@{station.worker}",
        pool="threads",
        concurrency=machine.slots,
        queues=machine.queues,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    station.stopping.begin()
    sweeper.join(_SWEEPER_SECONDS)
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
