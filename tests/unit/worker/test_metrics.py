"""What a worker tells Prometheus of itself."""

import socket
import urllib.request

from core.schema.events import CostReported
from worker.metrics import WorkerMetrics


def told(metrics: WorkerMetrics) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    metrics.serve(port, "127.0.0.1")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return answer.read().decode()


def test_a_worker_counts_what_became_of_jobs_and_how_long_their_phases_took() -> None:
    metrics = WorkerMetrics(version="1.2")
    for _ in range(3):
        metrics.begins()
    metrics.ends("succeeded", "passed")
    metrics.ends(None, None)
    metrics.costs(CostReported(seconds={"unlearning": 7.0}, tokens=1, peak_host_bytes=1))
    text = told(metrics)
    for line in (
        'unlearning_attempts_ended_total{status="succeeded",verdict="passed"} 1.0',
        'unlearning_attempts_ended_total{status="unknown",verdict="none"} 1.0',
        "unlearning_attempts_running 1.0",
        'unlearning_job_phase_duration_seconds_sum{phase="unlearning"} 7.0',
        'unlearning_build_info{version="1.2"} 1.0',
    ):
        assert line in text.splitlines()
