"""The devices that this machine's jobs run on: each GPU is held by a lock file, each CPU job by a slot."""

import fcntl
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.queue import queue_name
from core.settings import Settings

_NVIDIA_SMI_SECONDS = 20


class DevicesError(Exception):
    """The settings or the environment name devices in a form that this worker does not support."""


def visible_gpus(settings: Settings) -> tuple[int, ...]:
    """Returns the GPUs that this worker may use: by the setting, else by CUDA_VISIBLE_DEVICES, else by the driver."""
    if settings.worker_gpus is not None:
        return tuple(sorted(set(settings.worker_gpus)))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        parts = [part.strip() for part in visible.split(",") if part.strip()]
        if not all(part.isdigit() for part in parts):
            raise DevicesError("CUDA_VISIBLE_DEVICES names GPUs by other than their index; set WORKER_GPUS to indices")
        return tuple(sorted({int(part) for part in parts}))
    return tuple(range(_count_gpus()))


def _count_gpus() -> int:
    """Returns the number of GPUs that the driver's tool lists, or without the tool the number of device files."""
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        listing = subprocess.run([tool, "-L"], capture_output=True, timeout=_NVIDIA_SMI_SECONDS, check=False)  # noqa: S603
        return sum(line.startswith(b"GPU ") for line in listing.stdout.splitlines()) if listing.returncode == 0 else 0
    return sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in Path("/dev").glob("nvidia*"))


@dataclass(frozen=True)
class Devices:
    """The devices of one job. `descriptors` hold the GPUs' locks: a process that has them open has the GPUs."""

    gpus: tuple[int, ...]
    descriptors: tuple[int, ...]
    _on_release: Callable[[], None]
    _closed: threading.Event = field(default_factory=threading.Event)

    def hand_over(self) -> None:
        """Closes this process's descriptors of the locks: from now on the GPUs are the child's, until it ends."""
        if not self._closed.is_set():
            self._closed.set()
            for descriptor in self.descriptors:
                os.close(descriptor)

    def release(self) -> None:
        """Releases the devices that this process still holds."""
        self.hand_over()
        self._on_release()


class DeviceSlots:
    """The devices of one worker. It shares the GPUs with the machine's other workers through `lock_dir`."""

    def __init__(self, *, gpus: tuple[int, ...], cpu_slots: int, lock_dir: Path) -> None:
        self.gpus = gpus
        self.max_jobs = len(gpus) + cpu_slots
        """The number of jobs at a time, at most."""
        self._lock_dir = lock_dir
        self._cpu = threading.Semaphore(cpu_slots)
        self._lock = threading.Lock()
        self._taken = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> "DeviceSlots":
        gpus = visible_gpus(settings)
        if gpus:
            settings.gpu_lock_dir.mkdir(parents=True, exist_ok=True)
            if not os.access(settings.gpu_lock_dir, os.W_OK):
                raise DevicesError("GPU_LOCK_DIR is not writable; name a folder that all workers of the machine share")
        return cls(gpus=gpus, cpu_slots=settings.worker_slots, lock_dir=settings.gpu_lock_dir)

    @property
    def are_idle(self) -> bool:
        """Whether no job of this worker has any of them."""
        return self._taken == 0

    @property
    def gpu_counts(self) -> range:
        """The GPU counts of the jobs that can run here, the largest first: small jobs leave large ones no room."""
        return range(len(self.gpus), -1, -1)

    @property
    def queues(self) -> list[str]:
        """The queues whose hints this worker takes."""
        return [queue_name(gpus) for gpus in self.gpu_counts]

    def take(self, gpus: int) -> Devices | None:
        """Takes devices for a job of so many GPUs (0: a CPU slot); returns None where they are not free now."""
        if gpus == 0:
            return self._devices((), (), self._cpu.release) if self._cpu.acquire(blocking=False) else None
        held: dict[int, int] = {}
        try:
            for index in self.gpus:
                if len(held) == gpus:
                    break
                if (descriptor := self._lock_gpu(index)) is not None:
                    held[index] = descriptor
        except OSError:
            for descriptor in held.values():
                os.close(descriptor)
            raise
        if len(held) == gpus:
            return self._devices(tuple(held), tuple(held.values()))
        for descriptor in held.values():
            os.close(descriptor)
        return None

    def _devices(
        self, gpus: tuple[int, ...], descriptors: tuple[int, ...], release: Callable[[], None] | None = None
    ) -> Devices:
        def on_release() -> None:
            with self._lock:
                self._taken -= 1
            if release is not None:
                release()

        with self._lock:
            self._taken += 1
        return Devices(gpus, descriptors, on_release)

    def _lock_gpu(self, index: int) -> int | None:
        path = self._lock_dir / f"unlearn-gpu-{index}.lock"
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags)  # without O_CREAT: in a sticky folder that is refused for others' files
        except FileNotFoundError:
            self._lock_dir.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, flags | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        return descriptor
