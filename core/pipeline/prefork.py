"""A child that waits for a job with everything imported: no device used, no model loaded, nothing known of the job.

The worker starts it as `python -m core.pipeline --wait DESCRIPTOR`, one end of the sockets of `core.schema.prefork`.
What follows the answer, the spec on standard input first, is the same for any child.
"""

import ctypes
import functools
import gc
import importlib
import os
import socket
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

from core.pipeline.channel import ORPHANED
from core.pipeline.preimport import import_all, without_gc
from core.schema.prefork import READY, ChildEnvironment

NICE = 19
"""Priority while importing: another job is running, on threads that wait for the slowest of them."""

_MAX_DESCRIPTORS = 253  # the kernel's own limit for one message
_MAX_BYTES = 1 << 16
_NOT_INITIALIZED = 3  # CUDA_ERROR_NOT_INITIALIZED
_LIBRARIES = {"torch", "torchao", "transformers", "accelerate", "peft"}


class DeviceSeen(Exception):
    """An import asked the CUDA driver for devices: its answer would hold for the job, too."""


def wait_for_job(descriptor: int) -> None:
    """Imports everything, waits, and returns once this process has a job, whose descriptors stay open to its end.

    Raises DeviceSeen, and errors of imports.
    """
    # in this thread: the threads that a BLAS starts when loaded keep the priority of the loading thread
    for name in ("numpy", "scipy.linalg"):
        importlib.import_module(name)
    # in another thread: a thread that has lowered its priority may not raise it again
    with ThreadPoolExecutor(1, initializer=_lower_priority) as importer:
        importer.submit(preload).result()
    with socket.socket(fileno=descriptor) as connection:
        environment = _receive_environment(connection)
    for name, value in environment.root.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    tempfile.tempdir = None  # cached while importing, from an environment that was not the job's


def preload() -> None:
    """Imports everything that a job may need, and forgets that there was no device."""
    # through NVML and not the driver, which reads CUDA_VISIBLE_DEVICES only once in the life of the process
    before = os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK")
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    try:
        with without_gc():
            import_all()
            _clear_cached_answers()
    finally:
        if before is None:
            del os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"]
        else:
            os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = before
    if driver_asked():
        raise DeviceSeen


def driver_asked() -> bool:
    """Whether this process has initialised the CUDA driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:  # not even loaded
        return False
    return bool(driver.cuDeviceGetCount(ctypes.byref(ctypes.c_int())) != _NOT_INITIALIZED)


def _clear_cached_answers() -> None:
    """Clears the libraries' cached answers of functions such as `is_flash_attn_2_available` and `has_triton`."""
    for function in gc.get_objects():
        if isinstance(function, functools._lru_cache_wrapper) and function.cache_info().currsize:
            library = str(function.__module__).split(".")[0]
            if library in _LIBRARIES and function.__name__.startswith(("is_", "has_")):
                function.cache_clear()


def _lower_priority() -> None:
    """Lowers the priority of this thread alone, on systems where threads have one."""
    if sys.platform.startswith("linux"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _receive_environment(connection: socket.socket) -> ChildEnvironment:
    """Tells the worker that this child is ready, and waits for the job's environment and descriptors."""
    try:
        connection.sendall(READY)
        line = b""
        while not line.endswith(b"\n"):
            received, _, _, _ = socket.recv_fds(connection, _MAX_BYTES, _MAX_DESCRIPTORS)
            if not received:
                os._exit(ORPHANED)
            line += received
    except ConnectionError:
        os._exit(ORPHANED)
    return ChildEnvironment.model_validate_json(line)
