"""The child in waiting: it has imported what jobs are computed with before there is a job for it.

It serves one job and ends with it, like any child; the next one begins to wait when that job has loaded its model.
`core.pipeline.prefork` is the other side.
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
from worker.child import kill_session, start_process
from worker.log import LOGGER, traceback_frames
from worker.shutdown import ShutdownEvent

log = logging.getLogger(LOGGER)

COMMAND = (sys.executable, "-m", "core.pipeline", "--wait")
"""The descriptor's number is added to it."""

PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""Before another is started in place of one that died while it waited; doubled with each in a row."""

PATIENCE_SECONDS = 10.0
"""How long a job waits for a child that is importing: on a machine full of others' work, that takes long."""

_GLANCE_SECONDS = 0.2
_LOOK_SECONDS = 0.02
_TAIL_BYTES = 64 << 10


class PreforkPool(threading.Thread):
    """Keeps one child waiting until `stopping` begins. Any thread may `take` it; the next is up to `prepare`.

    The kernel ends a child together with the *thread* that started it. So this one starts them, and stays to the end
    of the process even when told to stop: children that it started may still be at work.
    """

    def __init__(
        self, environment: Mapping[str, str], stopping: ShutdownEvent, *, command: Sequence[str] = COMMAND
    ) -> None:
        """`environment` is what a child without devices has."""
        super().__init__(name="warm", daemon=True)
        self._environment = dict(environment)
        self._command = command
        self._stopping = stopping
        self._lock = threading.Lock()
        self._waiting: _WaitingChild | None = None
        self._wanted = threading.Event()
        self._wanted.set()
        self._deaths = 0

    def run(self) -> None:
        while not self._stopping:
            try:
                self._look_after()
            except OSError:
                self._deaths += 1
                log.exception("no child could be started to wait")
            pause = 0.0
            if self._deaths and self._waiting is None:
                pause = min(PAUSE_SECONDS * 2.0 ** min(self._deaths - 1, 10), LONGEST_PAUSE_SECONDS)
            self._rest(pause)
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.end()
        threading.Event().wait()

    def take(self, environment: Mapping[str, str], descriptors: Sequence[int]) -> "subprocess.Popen[bytes] | None":
        """The process that waited, from now on the caller's, with this environment and copies of the descriptors.

        None where none is ready: the caller starts a child of its own.
        """
        with self._lock:
            waiting = self._waiting
            if waiting is None or not waiting.ready():
                return None
            self._waiting = None
            self._wanted.clear()
            self._deaths = 0
        names = self._environment.keys() | environment.keys()
        changes = {
            name: environment.get(name) for name in names if environment.get(name) != self._environment.get(name)
        }
        try:
            waiting.assign(ChildEnvironment(changes), descriptors)
        except OSError:  # it died just now
            waiting.end()
            self.prepare()
            return None
        return waiting.process

    async def coming(self) -> None:
        """Returns when the child that is importing, if there is one, can be taken; after PATIENCE_SECONDS at most.

        It is ahead of one that would start now, which would only slow both. Whoever else asks meanwhile does not wait:
        it serves one job.
        """
        with self._lock:
            waiting = self._waiting
            if waiting is None or waiting.awaited:
                return
            waiting.awaited = True
        try:
            end = time.monotonic() + PATIENCE_SECONDS
            while self._importing(waiting) and time.monotonic() < end:  # noqa: ASYNC110 - seen by polling alone
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            waiting.awaited = False

    def _importing(self, waiting: "_WaitingChild") -> bool:
        with self._lock:
            return waiting is self._waiting and waiting.process.poll() is None and not waiting.ready()

    def prepare(self) -> None:
        """Lets the next child begin to wait, if none does."""
        self._wanted.set()

    def _look_after(self) -> None:
        with self._lock:
            waiting = self._waiting
            if waiting is None and self._wanted.is_set():
                self._waiting = _WaitingChild(self._command, self._environment)
            elif waiting is not None and waiting.process.poll() is not None:
                self._waiting = None
                self._deaths += 1
                told = {"status": waiting.process.returncode, "frames": traceback_frames(waiting.stderr())}
                log.warning("child died while it waited", extra=told)
                waiting.end()
            elif waiting is not None and not waiting.announced and waiting.ready():
                waiting.announced = True
                log.info("child waits", extra={"pid": waiting.process.pid, "seconds": round(waiting.seconds(), 1)})

    def _rest(self, pause: float) -> None:
        over = time.monotonic() + max(pause, _GLANCE_SECONDS)
        while not self._stopping and time.monotonic() < over:
            time.sleep(_GLANCE_SECONDS)


class _WaitingChild:
    """One such process and our end of the sockets between us."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._door, theirs = socket.socketpair()
        try:
            with theirs:
                self.process = start_process(
                    [*command, str(theirs.fileno())], env=environment, descriptors=[theirs.fileno()]
                )
        except BaseException:
            self._door.close()
            raise
        self._door.setblocking(False)
        self._said = b""
        self._began = time.monotonic()
        self.awaited = False
        """Whether a job waits for it."""
        self.announced = False
        """Whether the log says that it is ready."""

    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self._began

    def ready(self) -> bool:
        """Whether it lives and has imported everything."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._said += self._door.recv(len(READY))
        return self._said == READY and self.process.poll() is None

    def assign(self, answer: ChildEnvironment, descriptors: Sequence[int]) -> None:
        """Makes it a job's. OSError where it is dead."""
        line = answer.model_dump_json().encode() + b"\n"
        with self._door as door:
            door.setblocking(True)
            sent = socket.send_fds(door, [line], list(descriptors))
            if rest := line[sent:]:  # nothing more may be sent to one that has read it all and closed its end
                door.sendall(rest)

    def end(self) -> None:
        """Kills it, and lets go of it."""
        kill_session(self.process)
        self.process.wait()
        self._door.close()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def stderr(self) -> bytes:
        """What it wrote on standard error; for one that has ended."""
        pipe = self.process.stderr
        if pipe is None:
            return b""
        os.set_blocking(pipe.fileno(), False)  # something that it started may hold it open
        return pipe.read(_TAIL_BYTES) or b""
