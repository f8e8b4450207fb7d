"""The machine that a benchmark runs on.

Run as a program, this module prints the device that torch would compute on. Imported, it does without torch.
"""

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    device: str  # cpu or cuda
    name: str
    why_no_cuda: str
    """Why there is no CUDA device; empty if there is one."""

    def description(self) -> str:
        """Returns a line such as `2 cores of AMD EPYC, torch 2.13.0, Python 3.11.7`."""
        hardware = self.name if self.device == "cuda" else f"{os.cpu_count()} cores of {self.name}"
        return f"{hardware}, torch {version('torch')}, Python {platform.python_version()}"


def current_machine() -> Machine:
    """Returns this machine as torch sees it; asks torch in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.machine"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    return Machine(**json.loads(answer.stdout))


def cpu_of_machine() -> Machine:
    """Returns this machine without its GPUs."""
    return Machine("cpu", _cpu_name(), "")


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line for line in lines if line.startswith("model name")]
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()


def _machine_of_torch() -> Machine:
    import torch

    if torch.cuda.is_available():
        return Machine("cuda", torch.cuda.get_device_name(0), "")
    reason = "torch sees none" if torch.version.cuda else "this torch is built without CUDA"
    return Machine("cpu", _cpu_name(), reason)


if __name__ == "__main__":
    print(json.dumps(asdict(_machine_of_torch())))
