"""A worker's metrics for Prometheus."""

import socket
import urllib.request

from core.schema.events import CostReported
from worker.metrics import WorkerMetrics


def scrape(metrics: WorkerMetrics) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    metrics.serve(port, "127.0.0.1")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        return response.read().decode()


def test_a_worker_counts_attempts_by_result_and_the_time_of_phases() -> None:
    metrics = WorkerMetrics(version="1.2")
    for _ in range(3):
        metrics.attempt_started()
    metrics.attempt_ended("succeeded", "passed")
    metrics.attempt_ended(None, None)
    metrics.observe_cost(CostReported(seconds={"unlearning": 7.0}, tokens=1, peak_host_bytes=1))
    text = scrape(metrics)
    for line in (
        'unlearning_attempts_ended_total{status="succeeded",verdict="passed"} 1.0',
        'unlearning_attempts_ended_total{status="unknown",verdict="none"} 1.0',
        "unlearning_attempts_running 1.0",
        'unlearning_job_phase_duration_seconds_sum{phase="unlearning"} 7.0',
        'unlearning_build_info{version="1.2"} 1.0',
    ):
        assert line in text.splitlines()
