import os
import platform
import subprocess
import sys

import pytest

from core.lm.memory import HUGE_PAGES, has_huge_pages

PROGRAM = """
import resource, sys, torch
from core.lm.memory import configure_allocator
torch.set_num_threads(1)
if sys.argv[1] == "configured":
    configure_allocator()
for _ in range(10):
    torch.zeros(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.zeros(16 << 20)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults, int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize())
"""
LARGE = 64 << 20
"""Bytes of each of the program's tensors."""
only_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is configured")


def faults_and_held(how: str, **environment: str) -> tuple[int, int]:
    """Returns the pages that were cleared for five tensors, and the bytes that the process holds after them."""
    inherited = {name: value for name, value in os.environ.items() if name not in HUGE_PAGES}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, env=inherited | environment
    )
    faults, held = map(int, finished.stdout.split())
    return faults, held


@only_glibc
def test_without_huge_pages_a_freed_block_is_not_taken_from_the_system_again():
    (few, kept), (many, released) = faults_and_held("configured"), faults_and_held("default")
    assert few < many / 5
    assert kept > released + LARGE / 2


@only_glibc
def test_with_huge_pages_a_freed_block_is_released_and_costs_few_faults(monkeypatch):
    for name, value in HUGE_PAGES.items():
        monkeypatch.setenv(name, value)
    if not has_huge_pages():
        pytest.skip("the system has no huge pages for us: see /sys/kernel/mm/transparent_hugepage/enabled")
    (few, released), (_, kept) = faults_and_held("configured", **HUGE_PAGES), faults_and_held("configured")
    (many, _) = faults_and_held("default")
    assert few < many / 5
    assert kept > released + LARGE / 2


def test_the_peak_is_the_process_own_and_not_its_parents():
    ballast = bytearray(400 << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    finished = subprocess.run(
        [sys.executable, "-c", "from core.lm.memory import peak_bytes; print(peak_bytes())"],
        check=True,
        capture_output=True,
    )
    assert 1 << 20 < int(finished.stdout) < len(ballast)
