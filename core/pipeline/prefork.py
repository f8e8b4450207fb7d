"""A child that waits for its job with everything imported: no device seen, no model, and nothing of any job known.

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
"""While it imports: somebody else's job is running, on threads that wait for the slowest of them."""

_MOST_DESCRIPTORS = 253  # the kernel's own limit for one message
_PIECE = 1 << 16
_NOT_INITIALIZED = 3  # CUDA_ERROR_NOT_INITIALIZED
_LIBRARIES = {"torch", "torchao", "transformers", "accelerate", "peft"}


class DeviceSeen(Exception):
    """Something that was imported has asked the driver for devices: its answer would hold for the job's, too."""


def wait_for_job(descriptor: int) -> None:
    """Returns when this process is a job's; the descriptors that came with it stay open to its end.

    Raises DeviceSeen, and what an import raises.
    """
    # here, since the threads that a BLAS begins as it is loaded keep the priority of the one that loads it
    for name in ("numpy", "scipy.linalg"):
        importlib.import_module(name)
    # in a thread, since a thread that has lowered its priority may not raise it again
    with ThreadPoolExecutor(1, initializer=_step_back) as importer:
        importer.submit(preload).result()
    with socket.socket(fileno=descriptor) as door:
        answer = _answer(door)
    for name, value in answer.root.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    tempfile.tempdir = None  # found out while importing, by an environment that was not the job's


def preload() -> None:
    """Imports all that a job may need, in a way that leaves no trace of there having been no device."""
    # by NVML and not by the driver, which reads CUDA_VISIBLE_DEVICES once for the whole life of the process
    before = os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK")
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    try:
        with without_gc():
            import_all()
            _forget_answers()
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


def _forget_answers() -> None:
    """Clears what the libraries remember of questions such as `is_flash_attn_2_available` and `has_triton`."""
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper) and one.cache_info().currsize:
            library = str(one.__module__).split(".")[0]
            if library in _LIBRARIES and one.__name__.startswith(("is_", "has_")):
                one.cache_clear()


def _step_back() -> None:
    """Lowers the priority of this thread, and of no other, where threads have one."""
    if sys.platform.startswith("linux"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _answer(door: socket.socket) -> ChildEnvironment:
    try:
        door.sendall(READY)
        line = b""
        while not line.endswith(b"\n"):
            piece, _, _, _ = socket.recv_fds(door, _PIECE, _MOST_DESCRIPTORS)
            if not piece:
                os._exit(ORPHANED)
            line += piece
    except ConnectionError:
        os._exit(ORPHANED)
    return ChildEnvironment.model_validate_json(line)
