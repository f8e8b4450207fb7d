"""The child process `core.pipeline`, run by a command on this machine: its events as they come."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from core.schema.events import CHILD_EVENT, ChildEvent, Done, Failed
from core.schema.job_spec import JobSpec


class ChildFailed(Exception):
    """The child process failed; the message is the child's own where it sent one."""


def child_events(spec: JobSpec, environment: Mapping[str, str] | None = None) -> Iterator[ChildEvent]:
    """Runs `core.pipeline` on a spec and yields its events, up to `done`. ChildFailed where `done` does not come.

    The child has this process's environment, unless another is given.
    """
    with (
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "core.pipeline"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            text=True,
        ) as child,
    ):
        if child.stdin is None or child.stdout is None:
            raise ChildFailed("the child process has no pipes")
        try:
            child.stdin.write(spec.model_dump_json() + "\n")
            child.stdin.flush()  # left open: the child ends itself at the end of its input
            for line in child.stdout:
                event = _parse(line)
                if isinstance(event, Failed):
                    raise ChildFailed(event.error.message)
                yield event
                if isinstance(event, Done):
                    return
            status = child.wait()
        finally:
            child.kill()  # a caller that stops reading wants no more work done
        stderr.seek(0)
        raise ChildFailed(
            f"the process that measures ended with code {status}; its last lines: {last_lines(stderr.read())}"
        )


def _parse(line: str) -> ChildEvent:
    try:
        return CHILD_EVENT.validate_json(line)
    except ValidationError:
        raise ChildFailed("the process that measures wrote a line that is not an event") from None


def last_lines(text: str) -> str:
    """Returns the last ten lines of a process's output, where its error stands; `none` of an empty output."""
    return "\n".join(text.strip().splitlines()[-10:]) or "none"
