"""A worker's own figures for Prometheus, on a port of its own where the operator gives it one."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from core.schema.events import CostReported

SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200)


class WorkerMetrics:
    """Counts of this process since its start; Prometheus adds up those of all workers."""

    def __init__(self, *, version: str) -> None:
        self._registry = CollectorRegistry()
        self._ended = Counter(
            "unlearning_attempts_ended",
            "Attempts that this worker has ended, by what became of the job and its verdict",
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
        self._running = Gauge("unlearning_attempts_running", "Jobs that it works on now", registry=self._registry)
        info = Gauge("unlearning_build_info", "1, with the version of the code", ["version"], registry=self._registry)
        info.labels(version).set(1)

    def begins(self) -> None:
        """An attempt begins."""
        self._running.inc()

    def ends(self, status: str | None, verdict: str | None) -> None:
        """An attempt ends; `status` is what the job is then, None where that is not known to this worker."""
        self._running.dec()
        self._ended.labels(status or "unknown", verdict or "none").inc()

    def costs(self, cost: CostReported) -> None:
        """A job was worked to its end and said what it took."""
        for phase, seconds in cost.seconds.items():
            self._phases.labels(phase).observe(seconds)

    def serve(self, port: int, address: str) -> None:
        """Answers `GET /metrics` from a thread, for as long as the process lives. Raises OSError for a taken port."""
        start_http_server(port, address, registry=self._registry)
