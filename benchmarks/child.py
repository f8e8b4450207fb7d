"""A job's own process, as a worker starts it, for what is measured without a service."""

import subprocess
import sys

from core.schema.events import CHILD_EVENT, ChildEvent
from core.schema.job_spec import JobSpec


def events(spec: JobSpec) -> list[ChildEvent]:
    """What the child says. Its input stays open until it has ended: its end would end the child."""
    command = [sys.executable, "-m", "core.pipeline"]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        if child.stdin is None or child.stdout is None:
            raise OSError("the child process has no pipes")
        child.stdin.write(spec.model_dump_json() + "\n")
        child.stdin.flush()
        return [CHILD_EVENT.validate_json(line) for line in child.stdout]
