"""What this machine's processor is good at, without torch."""

import time
from functools import cache
from pathlib import Path

_FLAGS = {"avx512_bf16", "amx_bf16"}


_SIDE = 768
_TRIALS = 5
_REACHED = 0.5
"""The share of a matrix product's speed that a model reaches."""
GPU_FLOPS_PER_SECOND = 3e13
"""FLOPs that a model reaches in a second on a data centre's GPU, about, where no job has shown it."""


@cache
def flops_per_second() -> float:
    """What a model may reach on this machine's processor, by the best of a few matrix products: some 30 ms, once."""
    import numpy as np

    left, right = np.ones((2, _SIDE, _SIDE), dtype=np.float32)
    taken = []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        left @ right
        taken.append(time.perf_counter() - began)
    return _REACHED * 2 * _SIDE**3 / min(taken)


@cache
def has_fast_bfloat16() -> bool:
    """Whether it multiplies bfloat16 itself: what `core.lm.precision` asks torch. False where Linux does not say."""
    table = Path("/proc/cpuinfo")
    if not table.is_file():
        return False
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not _FLAGS.isdisjoint(flags)
