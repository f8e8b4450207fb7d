"""The speed of this machine's processor, measured or read without torch."""

import platform
import time
from functools import cache
from pathlib import Path

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
_SIDE = 768
_TRIALS = 5
_EFFICIENCY = 0.5
"""The share of a matrix product's speed that a model reaches."""
GPU_FLOPS_PER_SECOND = 3e13
"""About the FLOPs that a model reaches in a second on a data centre's GPU, where no job has shown it."""


@cache
def flops_per_second() -> float:
    """Returns the FLOPs a second that a model may reach on this processor, from the best of a few matrix products.

    The products take about 30 ms, once in a process.
    """
    import numpy as np

    left, right = np.ones((2, _SIDE, _SIDE), dtype=np.float32)
    seconds = []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - began)
    return _EFFICIENCY * 2 * _SIDE**3 / min(seconds)


@cache
def processor_name() -> str:
    """Returns the processor's model as Linux names it, else as Python does."""
    return next(
        (value for name, value in _cpuinfo() if name == "model name"), platform.processor() or platform.machine()
    )


@cache
def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 directly, as `core.lm.precision` asks torch. False: unknown."""
    flags = next((value.split() for name, value in _cpuinfo() if name == "flags"), [])
    return not _BFLOAT16_FLAGS.isdisjoint(flags)


def _cpuinfo() -> list[tuple[str, str]]:
    """Returns the names and values of /proc/cpuinfo; none where the system has no such file."""
    table = Path("/proc/cpuinfo")
    if not table.is_file():
        return []
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    return [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
