"""The child's ends of the pipes: events out, commands in, and what happens when nobody is at the other end.

SIGTERM is heard as the command to pause: whoever sends it gives some seconds before worse.
"""

import ctypes
import os
import signal
import sys
import threading
from typing import BinaryIO

from pydantic import ValidationError

from core.schema.events import (
    Cancelled,
    ChildEvent,
    Command,
    Done,
    Failed,
    Paused,
    PhaseStarted,
    ProgressMade,
    Resumed,
    Snapshotted,
)
from core.schema.job_spec import JOB_SPEC, JobSpec

_PR_SET_PDEATHSIG = 1
ORPHANED = 4
"""Exit code of a child whose parent went away."""


class Channel:
    """Take it first: from then on whatever a library prints goes to standard error, not between the events."""

    def __init__(self) -> None:
        _die_with_parent()
        self._events: BinaryIO = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._commands = sys.stdin.buffer
        self._lock = threading.RLock()
        self._cancelled = threading.Event()
        self._paused = threading.Event()
        self._ended = threading.Event()
        self._kept = 0
        """The newest snapshot's step."""
        self._unkept = False
        """Whether updates have been made since, which a snapshot can still keep."""

    def spec(self) -> JobSpec:
        """The first line. Raises pydantic's ValidationError."""
        return JOB_SPEC.validate_json(self._commands.readline())

    def listen(self, *, leads: bool = True) -> None:
        """Hears commands and SIGTERM from now on, in threads. End of file before the last word: the parent is gone.

        Called in the main thread. A process that does not lead goes on after SIGTERM, which a host on its way down
        sends to all: when the job pauses is for the one that leads to say.
        """
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        if not leads:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            return
        # by its number in a pipe: a handler would have to wait for the main thread, which may compute for long
        heard, noted = os.pipe()
        os.set_blocking(noted, False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(noted, warn_on_full_buffer=False)
        threading.Thread(target=self._await_sigterm, args=(heard,), name="signals", daemon=True).start()

    def say(self, event: ChildEvent) -> None:
        """Writes one event as one line, and none after the last word; the process ends where nobody reads any more."""
        line = event.model_dump_json().encode() + b"\n"
        with self._lock:
            if self._ended.is_set():  # two threads may find out about one end
                return
            if isinstance(event, Done | Cancelled | Paused | Failed):
                # set before it is written: whoever reads it may close the other pipe at once
                self._ended.set()
            try:
                while line:
                    line = line[self._events.write(line) :]
            except BrokenPipeError:
                os._exit(ORPHANED)
            if isinstance(event, Snapshotted | Resumed):
                self._kept, self._unkept = event.step, False
            elif isinstance(event, ProgressMade | PhaseStarted):
                self._unkept = isinstance(event, ProgressMade)
            if self._paused.is_set():
                self._leave()

    def cancelled(self) -> bool:
        """Whether the job is to stop at the next step."""
        return self._cancelled.is_set()

    def paused(self) -> bool:
        """Whether the job is to keep what it has done, as soon as the step is over, and end."""
        return self._paused.is_set()

    def _pause(self) -> None:
        with self._lock:
            self._paused.set()
            self._leave()

    def _leave(self) -> None:
        """Ends the process here and now where it is to pause and nothing would be kept by waiting."""
        if not self._unkept and not self._ended.is_set():
            self.say(Paused(step=self._kept))
            os._exit(0)

    def _await_sigterm(self, heard: int) -> None:
        while number := os.read(heard, 1):
            if number[0] == signal.SIGTERM:
                self._pause()

    def _listen(self) -> None:
        while line := self._commands.readline():
            try:
                command = Command.model_validate_json(line)
            except ValidationError:
                print("a command that is not known was passed over", file=sys.stderr)
                continue
            if command.command == "cancel":
                self._cancelled.set()
            else:
                self._pause()
        if not self._ended.is_set():
            os._exit(ORPHANED)


def _die_with_parent() -> None:
    """On Linux the kernel kills this process when its parent dies, even in the middle of a long computation."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before the kernel knew
        os._exit(ORPHANED)
