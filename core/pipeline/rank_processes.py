"""The other processes of a job that several share: started by the first, watched by it, and ended with it.

What torchrun does for a script, but under the process that the worker already watches: one socket, one pair of pipes,
one last word. Each of the others is `python -m core.pipeline --rank N --meeting FILE`, gets the same spec on its
standard input, and needs no more: the records come from the first.
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
"""One that dies takes the others with it, each with an error of its own: so long the true reason may take to show."""
INTERNAL = "internal"


class RankProcesses:
    """Use as `with`: leaving ends whichever of them still run."""

    def __init__(self, spec: UnlearnSpec, blame: Callable[[JobError], None]) -> None:
        """Starts them; to be called in the main thread, with whose end they end. `blame` is told, in a thread of its
        own and once, why one of them has failed; it is to end this process."""
        self._blame = blame
        self._folder = Path(tempfile.mkdtemp(prefix="ranks-"))  # private to this user
        self.meeting = self._folder / "meeting"
        self._troubles: list[JobError] = []
        self._trouble = threading.Event()
        self._dismissed = False
        self._processes = [self._start(spec, rank) for rank in range(1, spec.ranks)]
        for number, process in enumerate(self._processes, start=2):
            watch = threading.Thread(target=self._watch, args=(process, number, spec.ranks), daemon=True)
            watch.start()
        threading.Thread(target=self._judge, name="judge", daemon=True).start()

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
        """They have done their part: what becomes of them is of no consequence any more."""
        self._dismissed = True

    def settle(self) -> None:
        """Waits for the reason why they failed, where they did; then this does not return, since `blame` ends it."""
        time.sleep(2 * SETTLING_SECONDS)

    def _start(self, spec: UnlearnSpec, rank: int) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "core.pipeline", "--rank", str(rank), "--meeting", str(self.meeting)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,  # the GPUs' locks are passed on, so that no GPU is free before all have let go of it
        )
        with contextlib.suppress(BrokenPipeError):  # it is dead: the watch sees why
            if process.stdin is not None:
                process.stdin.write(spec.model_dump_json().encode() + b"\n")
                process.stdin.flush()
        return process

    def _watch(self, process: "subprocess.Popen[bytes]", number: int, count: int) -> None:
        error: JobError | None = None
        for line in process.stdout or ():
            with contextlib.suppress(ValidationError):  # something that is no event is no last word either
                event = CHILD_EVENT.validate_json(line)
                error = event.error if isinstance(event, Failed) else error
        status = process.wait()
        if error is None and status != 0:
            error = _died(status, number, count)
        if error is not None:
            self._troubles.append(error)
            self._trouble.set()

    def _judge(self) -> None:
        self._trouble.wait()
        time.sleep(SETTLING_SECONDS)
        if not self._dismissed:
            # one that could not foresee its end most likely met that of another
            self._blame(min(self._troubles, key=lambda error: error.code == INTERNAL))


def _died(status: int, number: int, count: int) -> JobError:
    """`status` as in `Popen.returncode`."""
    message = f"process {number} of the {count} that share the job "
    if status >= 0:
        message += f"ended with code {status} before its work was done; the worker's log says where"
    else:
        names = {one.value: one.name for one in signal.Signals}
        message += f"was killed by signal {-status} ({names.get(-status, 'unknown')})"
        if -status == signal.SIGKILL:
            message += ": most likely the host ran out of memory; give the worker more, or lower max_length"
    return JobError(code="rank_died", message=message, blame="service", retryable=True)
