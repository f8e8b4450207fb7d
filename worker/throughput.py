"""The measurement of this machine's throughput, once, beside the worker's other threads.

`core.pipeline.throughput` is the process that measures. A job never waits for it: the process is ended when a job
takes a device, and starts again when the devices have been idle for a while. What was measured stays in
SCRATCH_DIR/throughput.json, so that a restart costs nothing.
"""

import logging
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version

from pydantic import RootModel, ValidationError

from core.preflight.processor import processor_name
from core.schema.prefork import READY
from core.schema.throughput import Place, Throughput, Throughputs
from core.settings import Settings
from worker.child import child_environment, kill_process_group, start_process
from worker.device_slots import DeviceSlots
from worker.log import LOGGER, error_fields, traceback_frames
from worker.prefork_pool import PreforkPool
from worker.shutdown import ShutdownEvent

log = logging.getLogger(LOGGER)

COMMAND = (sys.executable, "-m", "core.pipeline.throughput")
FILE = "throughput.json"

IDLE_SECONDS = 1.0
"""How long the devices must have been idle before a process starts: a hint that finds no job takes one briefly."""
IMPORT_SECONDS, MEASURE_SECONDS = 300.0, 60.0
"""The longest that the process may take to import, and to measure; a machine that is busy with other work is slow."""
_POLL_SECONDS = 0.05
_STDERR_BYTES = 64 << 10
_NVIDIA_SMI_SECONDS = 20


class _Interrupted(Exception):
    """A job has taken a device, or the worker stops."""


class _Failed(Exception):
    """The process ended, or wrote something else, or took too long."""


class _Cache(RootModel[dict[str, Throughput]]):
    """Throughputs by device, torch's version and threads."""


class ThroughputMeter(threading.Thread):
    """Measures the processor, then one GPU where there are any. `measured` grows as it goes."""

    def __init__(
        self,
        settings: Settings,
        devices: DeviceSlots,
        threads: int,
        shutdown: ShutdownEvent,
        prefork_pool: PreforkPool | None = None,
        *,
        command: Sequence[str] = COMMAND,
    ) -> None:
        super().__init__(name="throughput", daemon=True)
        self._folder = settings.scratch_dir.absolute()
        self._devices = devices
        self._threads = threads
        self._shutdown = shutdown
        self._prefork_pool = prefork_pool
        self._command = command
        self.measured: Throughputs | None = None
        """Replaced as a whole, never changed: other threads read it."""

    def run(self) -> None:
        places: list[Place] = ["cpu", "gpu"] if self._devices.gpus else ["cpu"]
        for place in places:
            try:
                throughput = self._cached_or_measured(place)
            except _Interrupted:
                return
            except (_Failed, OSError) as error:
                extra = {"place": place, "reason": str(error), **error_fields(error)}
                log.warning("throughput not measured: estimates guess the machine's speed", extra=extra)
                continue
            self.measured = Throughputs({**(self.measured.root if self.measured else {}), place: throughput})

    def _cached_or_measured(self, place: Place) -> Throughput:
        name = processor_name() if place == "cpu" else _gpu_name(self._devices.gpus[0])
        key = f"{name}, torch {version('torch')}, {self._threads} threads"
        cached = self._read().get(key)
        if cached is not None:
            return cached
        throughput = self._measure_when_idle(place)
        log.info("throughput measured", extra={"device": key, **throughput.model_dump()})
        self._write({**self._read(), key: throughput})
        return throughput

    def _measure_when_idle(self, place: Place) -> Throughput:
        """Measures as often as a job interrupts it. _Interrupted: the worker stops."""
        while not self._shutdown:
            with suppress(_Interrupted):
                self._wait_until_idle()
                return self._measure(place)
        raise _Interrupted

    def _measure(self, place: Place) -> Throughput:
        gpus = self._devices.gpus[:1] if place == "gpu" else ()
        self._folder.mkdir(parents=True, exist_ok=True)
        environment = child_environment(gpus=gpus, threads=self._threads, folder=self._folder)
        process = start_process(self._command, env=environment)
        try:
            if self._read_line(process, IMPORT_SECONDS) != READY:
                raise _Failed("the process is not ready")
            while not (self._is_quiet() and self._has_free(len(gpus))):
                self._require_idle()
                time.sleep(_POLL_SECONDS)
            assert process.stdin is not None
            process.stdin.write(b"measure\n")
            return Throughput.model_validate_json(self._read_line(process, MEASURE_SECONDS))
        except (ValidationError, BrokenPipeError) as error:
            raise _Failed("the process wrote no throughput") from error
        finally:
            kill_process_group(process)
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def _read_line(self, process: "subprocess.Popen[bytes]", seconds: float) -> bytes:
        """Returns the process's next line. Raises _Interrupted as soon as a job has a device, and _Failed."""
        assert process.stdout is not None
        assert process.stderr is not None
        end, line = time.monotonic() + seconds, b""
        while not line.endswith(b"\n"):
            self._require_idle()
            if time.monotonic() > end:
                raise _Failed(f"the process took more than {seconds:.0f} s")
            if select.select([process.stdout], [], [], _POLL_SECONDS)[0]:
                received = process.stdout.read(1 << 16)
                if not received:
                    frames = traceback_frames(process.stderr.read(_STDERR_BYTES) or b"")
                    raise _Failed(f"the process ended early: {', '.join(frames)}")
                line += received
        return line

    def _require_idle(self) -> None:
        if self._shutdown or not self._devices.are_idle:
            raise _Interrupted

    def _is_quiet(self) -> bool:
        """Whether no child imports for the next job."""
        return self._prefork_pool is None or not self._prefork_pool.is_importing()

    def _has_free(self, gpus: int) -> bool:
        """Whether so many GPUs are held by no job, of this worker or another."""
        if gpus == 0:
            return True
        devices = self._devices.take(gpus)
        if devices is None:
            return False
        devices.release()
        return True

    def _wait_until_idle(self) -> None:
        """Returns once the devices have been idle for a while. _Interrupted: the worker stops."""
        since = time.monotonic()
        while time.monotonic() - since < IDLE_SECONDS:
            if self._shutdown:
                raise _Interrupted
            if not (self._devices.are_idle and self._is_quiet()):
                since = time.monotonic()
            time.sleep(_POLL_SECONDS)

    def _read(self) -> dict[str, Throughput]:
        try:
            return _Cache.model_validate_json((self._folder / FILE).read_bytes()).root
        except (OSError, ValidationError):  # no file yet, or a damaged one: measured anew
            return {}

    def _write(self, throughputs: dict[str, Throughput]) -> None:
        """Keeps them, if this machine's disk has room: else the next start measures again."""
        partial = self._folder / f".{FILE}.{os.getpid()}"
        try:
            partial.write_text(_Cache(throughputs).model_dump_json())
            partial.replace(self._folder / FILE)
        except OSError as error:
            log.warning("throughput not kept: the next start measures again", extra=error_fields(error))
            with suppress(OSError):
                partial.unlink()


def _gpu_name(index: int) -> str:
    """Returns the GPU's name by the driver's tool; without the tool its number."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return f"gpu {index}"
    query = [tool, "--query-gpu=name", "--format=csv,noheader", f"--id={index}"]
    try:
        listing = subprocess.run(query, capture_output=True, timeout=_NVIDIA_SMI_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"gpu {index}"
    return listing.stdout.decode(errors="replace").strip() or f"gpu {index}"
