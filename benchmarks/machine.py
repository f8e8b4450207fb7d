"""What a measurement was made on. As a program it says what torch would compute on; otherwise it does without torch."""

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
    absent: str
    """Why there is no CUDA device; empty where there is one."""

    def line(self) -> str:
        """`2 cores of AMD EPYC, torch 2.13.0, Python 3.11.7`."""
        place = self.name if self.device == "cuda" else f"{os.cpu_count()} cores of {self.name}"
        return f"{place}, torch {version('torch')}, Python {platform.python_version()}"


def machine() -> Machine:
    """The machine as torch sees it, asked in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.machine"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    return Machine(**json.loads(found.stdout))


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    names = [line for line in about.read_text().splitlines() if line.startswith("model name")] if about.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()


def _seen() -> Machine:
    import torch

    if torch.cuda.is_available():
        return Machine("cuda", torch.cuda.get_device_name(0), "")
    why = "torch sees none" if torch.version.cuda else "this torch is built without CUDA"
    return Machine("cpu", _processor(), why)


if __name__ == "__main__":
    print(json.dumps(asdict(_seen())))
