"""Trainings of the demo's models: child processes that run at once, each with a progress bar.

A training is a program of `core/demo`. It takes `--out DIR` and prints one JSON line a step.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import Progress

from api.cli.child import ChildFailed, last_lines
from api.cli.progress import progress_bar

QUARTERS = 4
"""Lines about a training where the terminal shows no bar."""


@dataclass(frozen=True)
class Training:
    """A program that makes one model: its title on the terminal, the directory that it writes, and its arguments.

    `summary` makes a few words out of the program's last line; `environment` is added to this process's own.
    """

    title: str
    directory: Path
    arguments: Sequence[str]
    summary: Callable[[Mapping[str, Any]], str] = lambda _: ""
    environment: Mapping[str, str] = field(default_factory=dict)


def run_trainings(trainings: Sequence[Training], console: Console) -> None:
    """Makes the models that are not in their directories yet, all at once. Raises ChildFailed.

    If one program fails, the others are stopped.
    """
    missing = []
    for training in trainings:
        if (training.directory / "config.json").exists():
            console.print(f"  {training.title}: cached")
        else:
            missing.append(training)
    if not missing:
        return
    with progress_bar(console) as progress, ExitStack() as stack, ThreadPoolExecutor(len(missing)) as pool:
        programs = [stack.enter_context(_Program(training, console, progress)) for training in missing]
        futures = [pool.submit(program.follow) for program in programs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            for program in programs:
                program.stop()
            raise


class _Program:
    """A running program, with its progress bar."""

    def __init__(self, training: Training, console: Console, progress: Progress) -> None:
        self._training, self._console, self._progress = training, console, progress
        self._task = progress.add_task(training.title, total=None)
        self._unfinished = training.directory.with_name(f".{training.directory.name}")
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        shutil.rmtree(self._unfinished, ignore_errors=True)
        command = [sys.executable, "-m", *self._training.arguments, "--out", str(self._unfinished)]
        environment = {**os.environ, **self._training.environment}
        # libraries' own messages are of interest only where training fails
        self._stderr = tempfile.TemporaryFile("w+")
        self._child = subprocess.Popen(  # noqa: S603 - our own program
            command, stdout=subprocess.PIPE, stderr=self._stderr, text=True, env=environment
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._child.__exit__(None, None, None)
        self._stderr.close()

    def follow(self) -> None:
        """Shows the program's steps until it ends, then puts the model into its place. Raises ChildFailed."""
        title, last = self._training.title, {}
        for line in self._child.stdout or ():
            last = json.loads(line)
            if "step" in last:
                self._show(last)
        if self._child.wait() != 0:
            self._stderr.seek(0)
            reason = last_lines(self._stderr.read())
            raise ChildFailed(f"{title}: the process ended with code {self._child.returncode}: {reason}")
        self._unfinished.rename(self._training.directory)
        summary = self._training.summary(last)
        self._console.print(f"  {title}: {time.monotonic() - self._began:.0f} s{summary}")

    def _show(self, line: Mapping[str, Any]) -> None:
        step, steps = line["step"], line["steps"]
        self._progress.update(self._task, completed=step, total=steps)
        if not self._console.is_terminal and step % max(1, steps // QUARTERS) == 0:  # without a bar, lines
            self._console.print(f"  {self._training.title}: step {step} of {steps}")

    def stop(self) -> None:
        """Ends the program, if it still runs."""
        self._child.kill()


def threads_for(trainings: int) -> int:
    """Returns the threads of each of so many trainings that run at once."""
    return max(1, (os.cpu_count() or 1) // trainings)
