"""The measured throughput: which pass counts, and which FLOPs."""

import subprocess
import sys

import pytest
import torch

from core.pipeline import throughput
from core.schema.prefork import READY


class Clock:
    """Time that passes only while a measured run says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


def fastest(clock: Clock, durations: list[float], *, seconds: float) -> tuple[float, int]:
    """Returns the fastest of runs that last so long, and how many were made."""
    left = list(durations)

    def run() -> None:
        clock.now += left.pop(0)

    return throughput._fastest(run, torch.device("cpu"), seconds), len(durations) - len(left)


def test_the_fastest_pass_counts_and_the_first_one_only_warms_up(clock: Clock) -> None:
    assert fastest(clock, [0.125, 0.5, 0.25, 1.0, 9.0], seconds=1.5) == (0.25, 4)


def test_one_pass_is_measured_even_where_warming_up_takes_all_the_time(clock: Clock) -> None:
    assert fastest(clock, [5.0, 3.0, 1.0], seconds=1.0) == (3.0, 2)


def test_flops_are_those_of_the_passes_by_the_papers_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "_fastest", lambda run, *_: (run(), 0.5)[1])
    found = throughput.measure_throughput(torch.device("cpu"), width=64)
    # 2 FLOPs of each weight that multiplies a token, and 2 * layers * width * T of attention; backward: twice as many
    weights = 2 * (4 * 64**2 + 3 * 64 * 192) + 2048 * 64
    forward = float(16 * 64 * (2 * weights + 2 * 2 * 64 * 64))
    assert (found.width, found.forward, found.update) == (64, forward / 0.5, 3 * forward / 0.5)


def test_the_process_says_when_it_is_ready_and_ends_when_the_worker_is_gone() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "core.pipeline.throughput"], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert finished.stdout == READY
