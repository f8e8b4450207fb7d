"""Processes forked with torch and transformers imported, where a new interpreter imports them for seconds.

`python -m tests.fork_server DESCRIPTOR` imports what a waiting child of the worker imports, and forks a process for
each request on the socket. The process runs a module as `python -m MODULE` does.
"""

import atexit
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from typing import IO

from tests.tiny_model import REPOSITORY

_NUMBER = struct.Struct("i")
_MAX_BYTES = 1 << 20
_server_lock = threading.Lock()


class ForkedProcess:
    """A process that runs a module, with pipes for its standard input and output: used like `subprocess.Popen`.

    Several threads may wait for it and signal it.
    """

    def __init__(
        self, module: str, arguments: Sequence[str] = (), *, env: Mapping[str, str], stderr: int | IO[str]
    ) -> None:
        read_input, write_input = os.pipe()
        read_output, write_output = os.pipe()
        self._status, write_status = os.pipe()
        # not closed before: another thread may still select it
        weakref.finalize(self, os.close, self._status)
        self._status_lock = threading.Lock()
        self.stdin: IO[str] = os.fdopen(write_input, "w")
        self.stdout: IO[str] = os.fdopen(read_output)
        self.returncode: int | None = None
        request = json.dumps({"arguments": [module, *arguments], "environment": dict(env)})
        errors = stderr if isinstance(stderr, int) else stderr.fileno()
        socket.send_fds(_shared_server(), [request.encode()], (read_input, write_output, errors, write_status))
        for descriptor in (read_input, write_output, write_status):
            os.close(descriptor)
        self.pid = self._read_number()

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit code, or minus the signal that ended the process. Raises TimeoutError."""
        if not select.select([self._status], [], [], timeout)[0]:
            raise TimeoutError
        with self._status_lock:
            if self.returncode is None:
                self.returncode = self._read_number()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Sends the signal, unless the process has ended."""
        if self.returncode is None and not select.select([self._status], [], [], 0)[0]:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read_number(self) -> int:
        number: int = _NUMBER.unpack(os.read(self._status, _NUMBER.size))[0]
        return number


def _shared_server() -> socket.socket:
    """Returns the one server of this process, whichever thread asks first."""
    with _server_lock:
        return _server()


@cache
def _server() -> socket.socket:
    """Starts the process that forks, once; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # one thread: threads that a BLAS starts as it is loaded do not live on in a fork
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        pass_fds=[theirs.fileno()],
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(requests: socket.socket) -> None:
    """Forks a process for each request until the other end closes, then waits for those that still run."""
    keepers: list[int] = []
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _MAX_BYTES, 4)
        keepers = [keeper for keeper in keepers if os.waitpid(keeper, os.WNOHANG)[0] == 0]
        if not request:
            break
        keeper = os.fork()
        if keeper == 0:
            requests.close()
            _keep(**json.loads(request), streams=descriptors[:3], status=descriptors[3])
        keepers.append(keeper)
        for descriptor in descriptors:
            os.close(descriptor)
    for keeper in keepers:
        os.waitpid(keeper, 0)


def _keep(arguments: list[str], environment: dict[str, str], streams: list[int], status: int) -> None:
    """Is the parent of one process: writes its id and, when it has ended, its exit code to `status`."""
    process = os.fork()
    if process == 0:
        os.close(status)
        _become(arguments, environment, streams)
    for stream in streams:
        os.close(stream)
    os.write(status, _NUMBER.pack(process))
    _, ended = os.waitpid(process, 0)
    os.write(status, _NUMBER.pack(os.waitstatus_to_exitcode(ended)))
    os._exit(0)


def _become(arguments: list[str], environment: dict[str, str], streams: list[int]) -> None:
    """Runs the module with these standard streams and this environment, and exits."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    raise SystemExit


if __name__ == "__main__":
    import core.pipeline.__main__  # noqa: F401 - sets the environment that torch and transformers read when imported
    from core.pipeline.prefork import preload

    preload()
    with socket.socket(fileno=int(sys.argv[1])) as _requests:
        _serve(_requests)
