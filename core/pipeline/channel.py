"""The child's ends of its pipes: events out, commands in, and its end when the parent is gone.

SIGTERM counts as the command to pause: whoever sends it waits some seconds before SIGKILL.
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
"""Exit code of a child whose parent is gone."""


class Channel:
    """Made first of all: from then on, prints of libraries go to standard error and not between the events."""

    def __init__(self) -> None:
        _die_with_parent()
        self._events: BinaryIO = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._commands = sys.stdin.buffer
        self._lock = threading.RLock()
        self._cancelled = threading.Event()
        self._paused = threading.Event()
        self._ended = threading.Event()
        self._snapshot_step = 0
        """The newest snapshot's."""
        self._has_unsaved_updates = False
        """Whether there are updates since then that a snapshot can still save."""

    def read_spec(self) -> JobSpec:
        """Reads the first line of standard input. Raises pydantic's ValidationError."""
        return JOB_SPEC.validate_json(self._commands.readline())

    def listen(self, *, leads: bool = True) -> None:
        """Starts threads that take commands and SIGTERM. End of file before the last event means: the parent is gone.

        Called in the main thread. A process that does not lead ignores SIGTERM, which a host that shuts down sends to
        all processes: the leading process decides when the job pauses.
        """
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        if not leads:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            return
        # the signal's number comes through a pipe: a handler would wait for the main thread, which may compute for long
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        threading.Thread(target=self._await_sigterm, args=(read_end,), name="signals", daemon=True).start()

    def emit(self, event: ChildEvent) -> None:
        """Writes an event as one line, none after the last event. Ends the process where nobody reads any more."""
        line = event.model_dump_json().encode() + b"\n"
        with self._lock:
            if self._ended.is_set():  # two threads may report the end
                return
            if isinstance(event, Done | Cancelled | Paused | Failed):
                # set before it is written: the reader may close the other pipe at once
                self._ended.set()
            try:
                while line:
                    line = line[self._events.write(line) :]
            except BrokenPipeError:
                os._exit(ORPHANED)
            if isinstance(event, Snapshotted | Resumed):
                self._snapshot_step, self._has_unsaved_updates = event.step, False
            elif isinstance(event, ProgressMade | PhaseStarted):
                self._has_unsaved_updates = isinstance(event, ProgressMade)
            if self._paused.is_set():
                self._exit_if_nothing_to_save()

    def cancelled(self) -> bool:
        """Whether the job is to be cancelled, between two updates or at the next check."""
        return self._cancelled.is_set()

    def paused(self) -> bool:
        """Whether the job is to take a snapshot after the current update, and end."""
        return self._paused.is_set()

    def _pause(self) -> None:
        with self._lock:
            self._paused.set()
            self._exit_if_nothing_to_save()

    def _exit_if_nothing_to_save(self) -> None:
        """Ends the process of a pausing job at once where waiting would save no update."""
        if not self._has_unsaved_updates and not self._ended.is_set():
            self.emit(Paused(step=self._snapshot_step))
            os._exit(0)

    def _await_sigterm(self, read_end: int) -> None:
        while number := os.read(read_end, 1):
            if number[0] == signal.SIGTERM:
                self._pause()

    def _listen(self) -> None:
        while line := self._commands.readline():
            try:
                command = Command.model_validate_json(line)
            except ValidationError:
                print("an unknown command was ignored", file=sys.stderr)
                continue
            if command.command == "cancel":
                self._cancelled.set()
            else:
                self._pause()
        if not self._ended.is_set():
            os._exit(ORPHANED)


def _die_with_parent() -> None:
    """Has the Linux kernel kill this process when its parent dies, even in the middle of a long computation."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # the parent died before the call
        os._exit(ORPHANED)
