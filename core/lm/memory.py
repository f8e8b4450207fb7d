"""How the process takes memory from the system, and how much it has taken."""

import ctypes
import platform
import re
import resource
import sys
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)


def keep_freed_memory() -> None:
    """From now on memory that tensors free is kept for the next ones. Once, at the start of a process that computes.

    By itself glibc takes every block over 32 MB from the system and gives it back when it is freed; each time the
    system then clears every page anew. Weights' gradients and logits are such blocks: on a virtual machine clearing
    49 MB took 20 ms that way and 1.5 ms this way, which is as long as a fifth of a step on the CPU.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1)):
        if library.mallopt(option, value) != 1:
            raise OSError(f"mallopt({option}, {value}) was refused")


def peak_bytes() -> int:
    """The most memory that this process has had at a time.

    On Linux not getrusage's figure, which a process inherits from the one that started it where that was larger.
    """
    if sys.platform == "linux":
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
