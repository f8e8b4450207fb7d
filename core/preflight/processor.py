"""What this machine's processor is good at, without torch."""

from functools import cache
from pathlib import Path

_FLAGS = {"avx512_bf16", "amx_bf16"}


@cache
def quick_bfloat16() -> bool:
    """Whether it multiplies bfloat16 itself: what `core.lm.precision` asks torch. False where Linux does not say."""
    table = Path("/proc/cpuinfo")
    if not table.is_file():
        return False
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not _FLAGS.isdisjoint(flags)
