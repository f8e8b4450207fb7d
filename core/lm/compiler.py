"""Whether torch.compile works here: it needs a C++ compiler on the CPU, Triton and a C compiler on a GPU."""

import torch

from core.lm.errors import CoreError


def require_compiler(device: torch.device, code: str, setting: str) -> None:
    """Compiles one line for the device. Raises CoreError `code` where that fails; `setting` is the setting that needs
    the compiler."""
    try:
        torch.compile(_increment)(torch.ones(2, device=device))
    except Exception as error:  # a compiler that is missing, old or broken may make any library below raise anything
        needed = "a C++ compiler (g++ or clang++)" if device.type == "cpu" else "Triton and a C compiler"
        message = f"{setting} needs {needed} on the worker, where there is none that works ({type(error).__name__})"
        raise CoreError(code, f"{message}: install it, or do without") from error


def _increment(values: torch.Tensor) -> torch.Tensor:
    return values + 1
