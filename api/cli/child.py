"""The core's child process, run by a command of this machine: its events as they come."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator

from pydantic import ValidationError

from core.schema.events import CHILD_EVENT, ChildEvent, Done, Failed
from core.schema.job_spec import JobSpec


class ChildFailed(Exception):
    """The child could not do its work; says why, in its own words where it had any."""


def child_events(spec: JobSpec) -> Iterator[ChildEvent]:
    """Runs `core.pipeline` on a spec and yields what it says, up to `done`. ChildFailed where that does not come."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "core.pipeline"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as child,
    ):
        if child.stdin is None or child.stdout is None:
            raise ChildFailed("the child process has no pipes")
        try:
            child.stdin.write(spec.model_dump_json() + "\n")
            child.stdin.flush()  # and kept open: its end would end the child
            for line in child.stdout:
                event = _event(line)
                if isinstance(event, Failed):
                    raise ChildFailed(event.error.message)
                yield event
                if isinstance(event, Done):
                    return
            status = child.wait()
        finally:
            child.kill()  # whoever listens no more wants it to work no more
        errors.seek(0)
        raise ChildFailed(
            f"the process that measures ended with code {status}; its last words: {last_lines(errors.read())}"
        )


def _event(line: str) -> ChildEvent:
    try:
        return CHILD_EVENT.validate_json(line)
    except ValidationError:
        raise ChildFailed("the process that measures said something that is no event") from None


def last_lines(words: str) -> str:
    """The end of what a process said, where its error stands."""
    return "\n".join(words.strip().splitlines()[-10:]) or "none"
