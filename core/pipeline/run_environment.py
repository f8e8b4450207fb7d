"""The environment of this process: versions, digests of the code, processor and device."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from core.evaluation import code_version
from core.lm.model import device
from core.schema.events import EnvironmentReported


def environment(devices: int) -> EnvironmentReported:
    """Returns the environment of a job that computes on so many GPUs, where this machine has GPUs."""
    place = device()
    on_gpu = place.type == "cuda"
    return EnvironmentReported(
        service_version=version("unlearning-service"),
        code_digest=code_version.core_digest(),
        measuring_digest=code_version.digest(),
        python=platform.python_version(),
        libraries={name: installed for name, installed in code_version.libraries().items() if installed is not None},
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        processor=_processor(),
        device=torch.cuda.get_device_name(place) if on_gpu else "cpu",
        devices=devices if on_gpu else 0,
        cuda=torch.version.cuda if on_gpu else None,
        threads=torch.get_num_threads(),
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line for line in lines if line.startswith("model name")]
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()
