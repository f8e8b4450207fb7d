"""One server process: started in a session of its own, found again by its pid file, stopped by its own id."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from core.embedded.account import Account
from core.embedded.errors import StackError

POLL_SECONDS = 0.02


def find_process(pid_file: Path, *, names: Sequence[str]) -> psutil.Process | None:
    """The running process that a pid file names, if it has one of the names and its working directory is the file's.

    After a power loss the pid may belong to another program: name and directory tell the two apart."""
    try:
        first = pid_file.read_text().partition("\n")[0].strip()
    except FileNotFoundError:
        return None
    if not first.isdigit():
        return None
    try:
        process = psutil.Process(int(first))
        if process.name().startswith(tuple(names)) and Path(process.cwd()).samefile(pid_file.parent):
            return process
    except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
        return None  # ended, a zombie, another user's, or in a deleted folder: not the server
    return None


def is_alive(process: psutil.Process) -> bool:
    """Whether the process still runs; a zombie does not (a container may have no init to reap it)."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def launch_server(
    argv: Sequence[str], *, log: Path, cwd: Path, account: Account | None = None
) -> subprocess.Popen[bytes]:
    """Starts a server that outlives Ctrl-C: in a session of its own, with its output in the log (mode 0600).

    The environment is not inherited: PGPORT, PGOPTIONS, LD_PRELOAD and secrets would reach the server."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - the callers' own commands
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=cwd,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            start_new_session=True,
            umask=0o077,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    finally:
        os.close(descriptor)


def wait_until(ready: Callable[[], bool], started: subprocess.Popen[bytes] | psutil.Process, *, seconds: float) -> bool:
    """Waits for `ready`; False if the process ended first. Raises StackError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if isinstance(started, subprocess.Popen):
            if started.poll() is not None:
                return False
        elif not is_alive(started):
            return False
        if time.monotonic() > deadline:
            raise StackError(f"A server (process {started.pid}) runs but was not ready within {seconds:.0f} seconds.")
        time.sleep(POLL_SECONDS)
    return True


def wait_for_exit(process: psutil.Process, *, seconds: float) -> bool:
    """Waits for a process to end; False if it still runs after `seconds`."""
    deadline = time.monotonic() + seconds
    while is_alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def stop_process(process: psutil.Process, steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Sends the signals in order and waits the given seconds after each, until the process has ended.

    Raises StackError if it still runs after the last."""
    for number, seconds in steps:
        if not is_alive(process):
            return
        try:
            process.send_signal(number)  # psutil checks that the pid is still this process's
        except psutil.NoSuchProcess:
            return
        if wait_for_exit(process, seconds=seconds):
            return
    if is_alive(process):
        raise StackError(f"Process {process.pid} does not stop.")


def tail(log: Path, lines: int = 5, *, start: int = 0) -> str:
    """The last lines of a server's log, from byte `start` on."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - 16_384))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
