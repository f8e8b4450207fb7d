"""A worker's own metrics for Prometheus, on a port of its own where the operator sets one."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from core.schema.events import CostReported

SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200)


class WorkerMetrics:
    """Counts of this process since its start. Prometheus adds up the counts of all workers."""

    def __init__(self, *, version: str) -> None:
        self._registry = CollectorRegistry()
        self._ended = Counter(
            "unlearning_attempts_ended",
            "Attempts that this worker has ended, by the job's status and verdict",
            ["status", "verdict"],
            registry=self._registry,
        )
        self._phases = Histogram(
            "unlearning_job_phase_duration_seconds",
            "Time of each phase of a job that was worked to its end",
            ["phase"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._running = Gauge(
            "unlearning_attempts_running", "Jobs that this worker works on now", registry=self._registry
        )
        info = Gauge("unlearning_build_info", "1, with the version of the code", ["version"], registry=self._registry)
        info.labels(version).set(1)

    def attempt_started(self) -> None:
        """Counts an attempt that begins."""
        self._running.inc()

    def attempt_ended(self, status: str | None, verdict: str | None) -> None:
        """Counts an attempt that ends; `status` is the job's then, None where this worker does not know it."""
        self._running.dec()
        self._ended.labels(status or "unknown", verdict or "none").inc()

    def observe_cost(self, cost: CostReported) -> None:
        """Records the time of each phase of a job that was worked to its end."""
        for phase, seconds in cost.seconds.items():
            self._phases.labels(phase).observe(seconds)

    def serve(self, port: int, address: str) -> None:
        """Answers `GET /metrics` from a thread, for as long as the process lives. OSError: the port is taken."""
        start_http_server(port, address, registry=self._registry)
