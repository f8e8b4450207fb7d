"""The job's process: started apart from this one, told what to do, listened to, and ended with all it started."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from core.schema.events import CHILD_EVENT, ChildEvent, Command
from core.schema.job_spec import JobSpec
from worker.failure import service_failure

_LINE_BYTES = 64 << 20
_TAIL_BYTES = 64 << 10
_EXIT_SECONDS = 15.0
_GLANCE_SECONDS = 0.05

PASSED_ON = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TZ",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "CUDA_HOME",
    "CUDA_PATH",
    "SSL_CERT_FILE",
    "HF_HOME",
    "HF_DATASETS_CACHE",
)
PASSED_ON_PREFIXES = ("LC_", "NCCL_", "NVIDIA_", "PYTORCH_", "TORCH_", "OMP_", "MKL_")
"""What a child sees of the worker's environment: no address, no password, no token."""


def child_environment(*, gpus: Sequence[int], threads: int, folder: Path) -> dict[str, str]:
    """The child's environment: an allow-list of the worker's own, its devices, and no way to the network's models."""
    kept = {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    return kept | {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus)),
        "OMP_NUM_THREADS": str(threads),
        "TMPDIR": str(folder),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONFAULTHANDLER": "1",
    }


def start_process(
    argv: Sequence[str], *, env: Mapping[str, str], descriptors: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    """A process of a session of its own, with pipes for its standard streams, that inherits `descriptors`."""
    return subprocess.Popen(  # noqa: S603
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
        pass_fds=tuple(descriptors),
        start_new_session=True,
        umask=0o077,
        bufsize=0,
    )


def kill_session(process: "subprocess.Popen[bytes]") -> None:
    """Kills the process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Child:
    """The process of one job, just started or waiting until now. Use as `async with`: leaving kills what is left."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.pid = process.pid
        self._process = process
        self.stderr_bytes = 0
        self._tail = bytearray()

    @classmethod
    def start(cls, argv: Sequence[str], *, env: Mapping[str, str], descriptors: Sequence[int] = ()) -> "Child":
        """Starts it; `descriptors` (the GPUs' locks) are inherited, and so released when it ends, however it ends."""
        return cls(start_process(argv, env=env, descriptors=descriptors))

    async def __aenter__(self) -> "Child":
        try:
            # on this loop, which need not be the one, nor the thread, that saw the process start
            self._stdout, reading = await _reader(self._process.stdout)
            self._stderr, draining = await _reader(self._process.stderr)
            self._stdin = await _writer(self._process.stdin)
        except BaseException:
            self.kill()
            self._process.wait()
            raise
        self._transports = (reading, draining, self._stdin.transport)
        self._draining = asyncio.create_task(self._drain())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        # shielded: a cancelled attempt must not leave before its child is gone
        await asyncio.shield(self._ended())
        self._draining.cancel()
        await asyncio.gather(self._draining, return_exceptions=True)
        for transport in self._transports:
            transport.close()

    async def give(self, spec: JobSpec) -> None:
        await self._send(spec.model_dump_json())

    async def tell(self, command: Command) -> None:
        await self._send(command.model_dump_json())

    async def events(self) -> AsyncIterator[ChildEvent]:
        """What it says, until it says no more. AttemptFailed where that is no event."""
        closing = asyncio.create_task(self._close_after_exit())
        try:
            while line := await self._stdout.readline():
                yield CHILD_EVENT.validate_json(line)
        except (ValidationError, ValueError) as error:  # ValueError: a line over the limit
            raise service_failure("child_garbled", "the job's process said something that is not an event") from error
        finally:
            closing.cancel()

    async def exit_status(self) -> int:
        """Its exit code, or minus the signal that ended it. One that lingers after its last word is killed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_SECONDS):
                return await self._ended()
        self.kill()
        return await self._ended()

    def kill(self) -> None:
        """Kills the process and all that it started."""
        kill_session(self._process)

    def stderr(self) -> bytes:
        """The end of what it wrote on standard error. It may quote a record: not for logs (`worker.log.frames_of`)."""
        return bytes(self._tail)

    async def _send(self, line: str) -> None:
        with contextlib.suppress(ConnectionError):  # it is dead: its exit tells why
            self._stdin.write(line.encode() + b"\n")
            await self._stdin.drain()

    async def _ended(self) -> int:
        while (status := self._process.poll()) is None:  # noqa: ASYNC110
            await asyncio.sleep(_GLANCE_SECONDS)
        return status

    async def _close_after_exit(self) -> None:
        """Once it has ended, ends what it started: these hold its output open."""
        await self._ended()
        self.kill()

    async def _drain(self) -> None:
        """Reads standard error away, so that it never blocks, and keeps its end in memory only."""
        while chunk := await self._stderr.read(_TAIL_BYTES):
            self.stderr_bytes += len(chunk)
            self._tail += chunk
            del self._tail[:-_TAIL_BYTES]


async def _reader(pipe: IO[bytes] | None) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    stream = asyncio.StreamReader(limit=_LINE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), pipe
    )
    return stream, transport


async def _writer(pipe: IO[bytes] | None) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    # a protocol for readers, of which only the control of the flow is used: asyncio has none for pipes alone
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), pipe
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)
