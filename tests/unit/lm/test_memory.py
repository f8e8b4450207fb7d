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
if sys.argv[1] == "told":
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
only_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")


def faults_and_held(how: str, **environment: str) -> tuple[int, int]:
    """Pages that five tensors had cleared, and what the process holds when they are gone."""
    inherited = {name: value for name, value in os.environ.items() if name not in HUGE_PAGES}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, env=inherited | environment
    )
    faults, held = map(int, said.stdout.split())
    return faults, held


@only_glibc
def test_without_huge_pages_a_freed_block_is_not_taken_from_the_system_again():
    (few, kept), (many, given_back) = faults_and_held("told"), faults_and_held("not told")
    assert few < many / 5
    assert kept > given_back + LARGE / 2


@only_glibc
def test_with_huge_pages_it_is_given_back_and_costs_few_faults(monkeypatch):
    for name, value in HUGE_PAGES.items():
        monkeypatch.setenv(name, value)
    if not has_huge_pages():
        pytest.skip("the system has no huge pages for us: see /sys/kernel/mm/transparent_hugepage/enabled")
    (few, given_back), (_, kept) = faults_and_held("told", **HUGE_PAGES), faults_and_held("told")
    (many, _) = faults_and_held("not told")
    assert few < many / 5
    assert kept > given_back + LARGE / 2


def test_the_peak_is_the_process_own_and_not_that_of_the_one_that_started_it():
    ballast = bytearray(400 << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    said = subprocess.run(
        [sys.executable, "-c", "from core.lm.memory import peak_bytes; print(peak_bytes())"],
        check=True,
        capture_output=True,
    )
    assert 1 << 20 < int(said.stdout) < len(ballast)
