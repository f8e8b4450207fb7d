"""The rank processes 1 to N-1 of a job with several: rank 0 starts them, watches them, and ends them.

They do what torchrun does for a script, but under the process that the worker already watches: one socket, one pair of
pipes, one last event. Each is `python -m core.pipeline --rank N --meeting FILE`, gets the same spec on its standard
input, and needs nothing else: the records come from rank 0.
"""

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from core.schema.events import CHILD_EVENT, Failed
from core.schema.job_spec import UnlearnSpec
from core.schema.jobs import JobError

SETTLING_SECONDS = 2.0
"""A dying rank takes the others with it, each with an error of its own; the true reason shows within this time."""
INTERNAL = "internal"


class RankProcesses:
    """A context manager: leaving it kills the processes that still run."""

    def __init__(self, spec: UnlearnSpec, on_failure: Callable[[JobError], None]) -> None:
        """Starts the processes, in the main thread, since they die with the thread that starts them.

        When one fails, `on_failure` is called once with the reason, in a thread of its own; it must end this process.
        """
        self._on_failure = on_failure
        self._folder = Path(tempfile.mkdtemp(prefix="ranks-"))  # private to this user
        self.meeting = self._folder / "meeting"
        self._errors: list[JobError] = []
        self._failed = threading.Event()
        self._dismissed = False
        self._processes = [self._start(spec, rank) for rank in range(1, spec.ranks)]
        for number, process in enumerate(self._processes, start=2):
            watch = threading.Thread(target=self._watch, args=(process, number, spec.ranks), daemon=True)
            watch.start()
        threading.Thread(target=self._report_failure, name="rank-failure", daemon=True).start()

    def __enter__(self) -> "RankProcesses":
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def dismiss(self) -> None:
        """Ignores failures from now on: the other ranks have done their part."""
        self._dismissed = True

    def await_failure(self) -> None:
        """Waits for the failure of another rank; if there is one, `on_failure` ends this process meanwhile."""
        time.sleep(2 * SETTLING_SECONDS)

    def _start(self, spec: UnlearnSpec, rank: int) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "core.pipeline", "--rank", str(rank), "--meeting", str(self.meeting)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,  # passes the GPUs' locks on: a GPU is free once every process has released it
        )
        with contextlib.suppress(BrokenPipeError):  # it is dead: its watcher sees why
            if process.stdin is not None:
                process.stdin.write(spec.model_dump_json().encode() + b"\n")
                process.stdin.flush()
        return process

    def _watch(self, process: "subprocess.Popen[bytes]", number: int, count: int) -> None:
        error: JobError | None = None
        for line in process.stdout or ():
            with contextlib.suppress(ValidationError):  # a line that is no event is no last event either
                event = CHILD_EVENT.validate_json(line)
                error = event.error if isinstance(event, Failed) else error
        status = process.wait()
        if error is None and status != 0:
            error = _died(status, number, count)
        if error is not None:
            self._errors.append(error)
            self._failed.set()

    def _report_failure(self) -> None:
        self._failed.wait()
        time.sleep(SETTLING_SECONDS)
        if not self._dismissed:
            # an unexpected error is most likely the consequence of another rank's end
            self._on_failure(min(self._errors, key=lambda error: error.code == INTERNAL))


def _died(status: int, number: int, count: int) -> JobError:
    """The error of a process that ended with `status`, as in `Popen.returncode`."""
    message = f"process {number} of the {count} that share the job "
    if status >= 0:
        message += f"ended with code {status} before its work was done; the worker's log says where"
    else:
        names = {number.value: number.name for number in signal.Signals}
        message += f"was killed by signal {-status} ({names.get(-status, 'unknown')})"
        if -status == signal.SIGKILL:
            message += ": most likely the host ran out of memory; give the worker more, or lower max_length"
    return JobError(code="rank_died", message=message, blame="service", retryable=True)
