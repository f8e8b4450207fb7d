"""The job's child process: started in a session of its own, given its spec, read, and ended with all it started."""

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
_POLL_SECONDS = 0.05

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
"""The variables that a child inherits of the worker's environment: no address, no password, no token."""


def child_environment(*, gpus: Sequence[int], threads: int, folder: Path) -> dict[str, str]:
    """Returns the child's environment: an allow-list of the worker's own, its devices, and no access to model hubs."""
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
    """Starts a process in a session of its own, with pipes for its standard streams. It inherits `descriptors`."""
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


def kill_process_group(process: "subprocess.Popen[bytes]") -> None:
    """Kills the process and its process group, which holds all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Child:
    """The process of one job, newly started or taken from the prefork pool. `async with` kills it on leaving."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.pid = process.pid
        self._process = process
        self.stderr_bytes = 0
        self._tail = bytearray()

    @classmethod
    def start(cls, argv: Sequence[str], *, env: Mapping[str, str], descriptors: Sequence[int] = ()) -> "Child":
        """Starts the process. It inherits `descriptors` (the GPUs' locks), which are released however it ends."""
        return cls(start_process(argv, env=env, descriptors=descriptors))

    async def __aenter__(self) -> "Child":
        try:
            # the pipes join this event loop: the process may have been started by another thread
            self._stdout, stdout_transport = await _reader(self._process.stdout)
            self._stderr, stderr_transport = await _reader(self._process.stderr)
            self._stdin = await _writer(self._process.stdin)
        except BaseException:
            self.kill()
            self._process.wait()
            raise
        self._transports = (stdout_transport, stderr_transport, self._stdin.transport)
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

    async def send_spec(self, spec: JobSpec) -> None:
        await self._send(spec.model_dump_json())

    async def send_command(self, command: Command) -> None:
        await self._send(command.model_dump_json())

    async def events(self) -> AsyncIterator[ChildEvent]:
        """Yields the child's events until its output ends. AttemptFailed where a line is not an event."""
        closing = asyncio.create_task(self._close_after_exit())
        try:
            while line := await self._stdout.readline():
                yield CHILD_EVENT.validate_json(line)
        except (ValidationError, ValueError) as error:  # ValueError: a line over the limit
            raise service_failure("child_garbled", "the job's process wrote a line that is not an event") from error
        finally:
            closing.cancel()

    async def exit_status(self) -> int:
        """Returns the exit code, or minus the signal that ended the process, which is killed if it does not exit."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_SECONDS):
                return await self._ended()
        self.kill()
        return await self._ended()

    def kill(self) -> None:
        """Kills the process and all that it started."""
        kill_process_group(self._process)

    def stderr(self) -> bytes:
        """Returns the end of standard error. It may quote a record: logs get `worker.log.traceback_frames` of it."""
        return bytes(self._tail)

    async def _send(self, line: str) -> None:
        with contextlib.suppress(ConnectionError):  # the process is dead: its exit status tells why
            self._stdin.write(line.encode() + b"\n")
            await self._stdin.drain()

    async def _ended(self) -> int:
        while (status := self._process.poll()) is None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        return status

    async def _close_after_exit(self) -> None:
        """Waits for the process to end, then kills the processes that it started: they hold its output open."""
        await self._ended()
        self.kill()

    async def _drain(self) -> None:
        """Reads standard error, so that the child never blocks on it, and keeps only its end, in memory."""
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
    # asyncio has no protocol for writing to pipes alone: of this reader's protocol only the flow control is used
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), pipe
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)
