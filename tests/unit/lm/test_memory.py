import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from core.lm.memory import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(10):
    torch.zeros(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.zeros(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_freed_block_is_not_taken_from_the_system_again():
    def faults(how):
        return int(subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True).stdout)

    assert faults("kept") < faults("given back") / 5


def test_the_peak_is_the_process_own_and_not_that_of_the_one_that_started_it():
    ballast = bytearray(400 << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    said = subprocess.run(
        [sys.executable, "-c", "from core.lm.memory import peak_bytes; print(peak_bytes())"],
        check=True,
        capture_output=True,
    )
    assert 1 << 20 < int(said.stdout) < len(ballast)
