"""The waiting child: a process that has imported the jobs' libraries before there is a job for it.

It serves one job and ends with it, like any child. The next child starts when that job has loaded its model.
`core.pipeline.prefork` is the child's side.
"""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from core.schema.prefork import READY, ChildEnvironment
from worker.child import kill_process_group, start_process
from worker.log import LOGGER, traceback_frames
from worker.shutdown import ShutdownEvent

log = logging.getLogger(LOGGER)

COMMAND = (sys.executable, "-m", "core.pipeline", "--wait")
"""The number of the child's end of the sockets is appended."""

PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""The pause before a child that died while it waited is replaced; it doubles with each death in a row."""

READY_SECONDS = 10.0
"""How long a job waits for a child that is importing, which takes long on a machine that is busy with other work."""

_POLL_SECONDS = 0.2
_READY_POLL_SECONDS = 0.02
_STDERR_BYTES = 64 << 10


class PreforkPool(threading.Thread):
    """Keeps one child waiting until `shutdown` is set. Any thread may `take` it; `prepare_next` asks for another.

    The kernel ends a child together with the *thread* that started it. So this thread starts the children, and stays
    to the end of the process even after the shutdown: children that it started may still be at work.
    """

    def __init__(
        self, environment: Mapping[str, str], shutdown: ShutdownEvent, *, command: Sequence[str] = COMMAND
    ) -> None:
        """`environment` is the environment of a child without devices."""
        super().__init__(name="warm", daemon=True)
        self._environment = dict(environment)
        self._command = command
        self._shutdown = shutdown
        self._lock = threading.Lock()
        self._waiting: _WaitingChild | None = None
        self._wanted = threading.Event()
        self._wanted.set()
        self._deaths = 0

    def run(self) -> None:
        while not self._shutdown:
            try:
                self._check_child()
            except OSError:
                self._deaths += 1
                log.exception("no child could be started to wait")
            pause = 0.0
            if self._deaths and self._waiting is None:
                pause = min(PAUSE_SECONDS * 2.0 ** min(self._deaths - 1, 10), LONGEST_PAUSE_SECONDS)
            self._sleep(pause)
        with self._lock:
            child, self._waiting = self._waiting, None
        if child is not None:
            child.end()
        threading.Event().wait()

    def take(self, environment: Mapping[str, str], descriptors: Sequence[int]) -> "subprocess.Popen[bytes] | None":
        """Returns the waiting process, now the caller's, with this environment and copies of the descriptors.

        Returns None where no child is ready; the caller then starts a child of its own.
        """
        with self._lock:
            child = self._waiting
            if child is None or not child.is_ready():
                return None
            self._waiting = None
            self._wanted.clear()
            self._deaths = 0
        names = self._environment.keys() | environment.keys()
        changes = {
            name: environment.get(name) for name in names if environment.get(name) != self._environment.get(name)
        }
        try:
            child.assign(ChildEnvironment(changes), descriptors)
        except OSError:  # it has just died
            child.end()
            self.prepare_next()
            return None
        return child.process

    async def wait_ready(self) -> None:
        """Returns when the child that is importing, if there is one, can be taken; after READY_SECONDS at most.

        That child is ahead of a child that would start now, and two would slow each other. The child serves one job, so
        a second caller does not wait for it.
        """
        with self._lock:
            child = self._waiting
            if child is None or child.awaited:
                return
            child.awaited = True
        try:
            deadline = time.monotonic() + READY_SECONDS
            while self._is_importing(child) and time.monotonic() < deadline:  # noqa: ASYNC110 - seen by polling alone
                await asyncio.sleep(_READY_POLL_SECONDS)
        finally:
            child.awaited = False

    def _is_importing(self, child: "_WaitingChild") -> bool:
        with self._lock:
            return child is self._waiting and child.process.poll() is None and not child.is_ready()

    def is_importing(self) -> bool:
        """Returns whether a child is on its way to be ready."""
        with self._lock:
            child = self._waiting
        return child is not None and self._is_importing(child)

    def prepare_next(self) -> None:
        """Lets the next child start, if none waits."""
        self._wanted.set()

    def _check_child(self) -> None:
        """Starts a child where one is wanted, clears away a dead one, and logs a child that has become ready."""
        with self._lock:
            child = self._waiting
            if child is None and self._wanted.is_set():
                self._waiting = _WaitingChild(self._command, self._environment)
            elif child is not None and child.process.poll() is not None:
                self._waiting = None
                self._deaths += 1
                extra = {"status": child.process.returncode, "frames": traceback_frames(child.stderr())}
                log.warning("child died while it waited", extra=extra)
                child.end()
            elif child is not None and not child.announced and child.is_ready():
                child.announced = True
                log.info("child waits", extra={"pid": child.process.pid, "seconds": round(child.age_seconds(), 1)})

    def _sleep(self, pause: float) -> None:
        end = time.monotonic() + max(pause, _POLL_SECONDS)
        while not self._shutdown and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)


class _WaitingChild:
    """One waiting process and this process's end of the sockets between them."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._socket, child_socket = socket.socketpair()
        descriptor = child_socket.fileno()
        try:
            with child_socket:
                self.process = start_process([*command, str(descriptor)], env=environment, descriptors=[descriptor])
        except BaseException:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self._received = b""
        self._began = time.monotonic()
        self.awaited = False
        """Whether a job waits for this child."""
        self.announced = False
        """Whether the log says that this child is ready."""

    def age_seconds(self) -> float:
        """Returns the seconds since the child was started."""
        return time.monotonic() - self._began

    def is_ready(self) -> bool:
        """Returns whether the child lives and has imported everything."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._received += self._socket.recv(len(READY))
        return self._received == READY and self.process.poll() is None

    def assign(self, environment: ChildEnvironment, descriptors: Sequence[int]) -> None:
        """Gives the child to a job, with the changes of its environment. Raises OSError where the child is dead."""
        line = environment.model_dump_json().encode() + b"\n"
        with self._socket as connection:
            connection.setblocking(True)
            sent = socket.send_fds(connection, [line], list(descriptors))
            if rest := line[sent:]:  # an empty send would fail: a child that has read the line closes its end
                connection.sendall(rest)

    def end(self) -> None:
        """Kills the child and closes everything that belongs to it."""
        kill_process_group(self.process)
        self.process.wait()
        self._socket.close()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def stderr(self) -> bytes:
        """Returns the standard error of a child that has ended."""
        pipe = self.process.stderr
        if pipe is None:
            return b""
        os.set_blocking(pipe.fileno(), False)  # a process that the child started may hold it open
        return pipe.read(_STDERR_BYTES) or b""
