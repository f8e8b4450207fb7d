"""A real child process, its commands and its events."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from core.schema.events import CHILD_EVENT, ChildEvent
from core.schema.job_spec import CommonSpec
from tests.tiny_model import REPOSITORY

COMMAND = [sys.executable, "-m", "core.pipeline"]
SECONDS = 200


@dataclass
class Outcome:
    """All that a child that ended has left."""

    code: int
    events: list[ChildEvent]
    stdout: str
    stderr: str

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def only(self, kind: str) -> list[ChildEvent]:
        return [event for event in self.events if event.kind == kind]


@dataclass
class Child:
    process: subprocess.Popen[str]
    stderr: IO[str]
    lines: list[str] = field(default_factory=list)

    def tell(self, line: str) -> None:
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

    def until(self, wanted: Callable[[ChildEvent], bool]) -> ChildEvent:
        return next(event for event in self.events() if wanted(event))

    def ended(self) -> Outcome:
        for _ in self.events():
            pass
        code = self.process.wait(SECONDS)
        self.stderr.seek(0)
        stdout = "".join(self.lines)
        events = [CHILD_EVENT.validate_json(line) for line in self.lines]
        return Outcome(code, events, stdout, self.stderr.read())


@contextmanager
def child(spec: CommonSpec | str, command: Sequence[str] = COMMAND) -> Iterator[Child]:
    """Started and told what to do; killed at the end if it still runs. Standard error is a file, so it never blocks."""
    with tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        one = Child(process, stderr)
        try:
            one.tell(spec if isinstance(spec, str) else spec.model_dump_json())
            yield one
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def run(spec: CommonSpec | str) -> Outcome:
    with child(spec) as one:
        return one.ended()
