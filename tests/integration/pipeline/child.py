"""A real child process, its commands and its events."""

import os
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pydantic import SecretBytes

from core.schema.events import CHILD_EVENT, ChildEvent
from core.schema.job_spec import CommonSpec, SealedFolder
from tests.fork_server import ForkedProcess
from tests.tiny_model import REPOSITORY

COMMAND = [sys.executable, "-m", "core.pipeline"]
SECONDS = 200


@dataclass
class Outcome:
    """Everything that an ended child has left."""

    code: int
    events: list[ChildEvent]
    stdout: str
    stderr: str

    def kinds(self) -> list[str]:
        """The events' kinds in their order, without heartbeats, which come by the clock."""
        return [event.kind for event in self.events if event.kind != "beat"]

    def of_kind(self, kind: str) -> list[ChildEvent]:
        return [event for event in self.events if event.kind == kind]


@dataclass
class Child:
    process: subprocess.Popen[str] | ForkedProcess
    stderr: IO[str]
    lines: list[str] = field(default_factory=list)

    def write_line(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def events(self) -> Iterator[ChildEvent]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            yield CHILD_EVENT.validate_json(line)

    def wait_for(self, matches: Callable[[ChildEvent], bool]) -> ChildEvent:
        return next(event for event in self.events() if matches(event))

    def wait(self) -> Outcome:
        for _ in self.events():
            pass
        code = self.process.wait(SECONDS)
        self.stderr.seek(0)
        stdout = "".join(self.lines)
        events = [CHILD_EVENT.validate_json(line) for line in self.lines]
        return Outcome(code, events, stdout, self.stderr.read())


@contextmanager
def child(spec: CommonSpec | str, command: Sequence[str] | None = None) -> Iterator[Child]:
    """Starts a child with its spec, and kills it at the end. Standard error is a file, so that it never blocks.

    With a command, the child is a new interpreter; without one, it is forked with everything imported.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as stderr:
        process: subprocess.Popen[str] | ForkedProcess
        if command is None:
            process = ForkedProcess("core.pipeline", env=environment, stderr=stderr)
        else:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=environment,
            )
        started = Child(process, stderr)
        try:
            started.write_line(spec if isinstance(spec, str) else spec.model_dump_json())
            yield started
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def run(spec: CommonSpec | str, command: Sequence[str] | None = None) -> Outcome:
    """Runs a child, as `child` starts it, to its end."""
    with child(spec, command) as started:
        return started.wait()


def sealed_folder(folder: Path) -> SealedFolder:
    """Returns a folder for a job's snapshots, under a key that the attempts of a test share."""
    return SealedFolder(folder=folder, key=SecretBytes(b64encode(bytes(32))))
