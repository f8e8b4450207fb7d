"""Prometheus metrics: requests of this process, and the state of the whole service at the time of the scrape."""

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from core.records.service_stats import ServiceStats
from core.schema.deadlines import AT_RISK

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Metrics in a registry of their own, so that two apps in one process do not share counters."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "unlearning_http_requests", "Requests answered", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "unlearning_http_request_duration_seconds",
            "Seconds until the answer was complete, of requests that are not held open on purpose",
            ["method", "route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._jobs = Gauge("unlearning_jobs", "Jobs that are not over", ["status"], registry=self._registry)
        self._at_risk = Gauge(
            "unlearning_jobs_at_risk",
            f"Jobs that are due within {AT_RISK.days} days and have neither succeeded nor been cancelled",
            ["status"],
            registry=self._registry,
        )
        self._overdue = Gauge(
            "unlearning_jobs_overdue",
            "Jobs, failed ones included, whose deadline has passed and that have neither succeeded nor been cancelled",
            ["status"],
            registry=self._registry,
        )
        self._waiting = Gauge(
            "unlearning_checkpoints_waiting", "Checkpoints that wait for a release", registry=self._registry
        )
        self._outbox = Gauge(
            "unlearning_outbox", "Job hints that wait to be sent to the broker", registry=self._registry
        )
        self._webhooks = Gauge(
            "unlearning_webhooks_pending", "Messages to webhooks that are not delivered yet", registry=self._registry
        )
        self._unsigned = Gauge(
            "unlearning_statements_waiting", "Jobs whose statement is to be signed", registry=self._registry
        )
        self._unsignable = Gauge(
            "unlearning_statements_failing",
            "Jobs whose statement could not be made and is tried again",
            registry=self._registry,
        )
        self._workers = Gauge("unlearning_workers", "Workers that are up", registry=self._registry)
        info = Gauge("unlearning_build_info", "1, with the version of the code", ["version"], registry=self._registry)
        info.labels(version("unlearning-service")).set(1)

    def observe(self, method: str, route: str, status: int, seconds: float, *, held: bool = False) -> None:
        """Counts an answer.

        `route` is the template of the path, so that ids create no time series. `held`: the answer was held open on
        purpose, as an event stream is, and its duration is not counted.
        """
        self._requests.labels(method, route, str(status)).inc()
        if not held:
            self._seconds.labels(method, route).observe(seconds)

    def render(self, stats: ServiceStats) -> bytes:
        """Returns the metrics in Prometheus' text format (version 0.0.4)."""
        self._jobs.labels("queued").set(stats.queued)
        self._jobs.labels("running").set(stats.running)
        self._jobs.labels("paused").set(stats.paused)
        for gauge, counts in ((self._at_risk, stats.at_risk), (self._overdue, stats.overdue)):
            for status, count in counts.items():
                gauge.labels(status).set(count)
        self._waiting.set(stats.waiting)
        self._outbox.set(stats.outbox)
        self._webhooks.set(stats.webhooks)
        self._unsigned.set(stats.unsigned)
        self._unsignable.set(stats.unsignable)
        self._workers.set(stats.workers)
        return generate_latest(self._registry)
