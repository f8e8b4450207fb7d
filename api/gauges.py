"""The figures of this process for Prometheus, and those of the whole service, read when they are asked for."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from core.records.standing import Standing

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Gauges:
    """A registry of its own, so that two apps in one process do not count together."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "unlearning_requests", "Requests answered", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "unlearning_request_seconds",
            "Seconds until the answer was complete",
            ["method", "route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._jobs = Gauge("unlearning_jobs", "Jobs that are not over", ["status"], registry=self._registry)
        self._outbox = Gauge("unlearning_outbox", "Hints that wait for the broker", registry=self._registry)
        self._workers = Gauge("unlearning_workers", "Workers that are up", registry=self._registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts an answer; `route` is the template, so that ids do not make a series each."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def expose(self, standing: Standing) -> bytes:
        """The text format (version 0.0.4)."""
        self._jobs.labels("queued").set(standing.queued)
        self._jobs.labels("running").set(standing.running)
        self._outbox.set(standing.outbox)
        self._workers.set(standing.workers)
        return generate_latest(self._registry)
