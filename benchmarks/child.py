"""A job's child process, started as a worker starts it, for benchmarks that run without a service."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from core.schema.events import CHILD_EVENT, ChildEvent
from core.schema.job_spec import CommonSpec


def run_child(
    spec: CommonSpec, environment: Mapping[str, str] | None = None, *, cwd: Path | None = None
) -> list[ChildEvent]:
    """Runs a job in a child process to its end and returns its events.

    The child's standard input stays open until the child has ended, since a child whose input closes ends itself.
    `environment` and `cwd`: default to this process's own.
    """
    command = [sys.executable, "-m", "core.pipeline"]
    with subprocess.Popen(  # noqa: S603 - our own program
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        cwd=cwd,
    ) as child:
        if child.stdin is None or child.stdout is None:
            raise OSError("the child process has no pipes")
        child.stdin.write(spec.model_dump_json() + "\n")
        child.stdin.flush()
        return [CHILD_EVENT.validate_json(line) for line in child.stdout]
