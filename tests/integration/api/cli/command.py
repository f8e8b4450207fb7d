"""The command in this process, and its output."""

import json
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from click.testing import Result

Run = Callable[..., Coroutine[Any, Any, Result]]


@contextmanager
def separate_log() -> Iterator[None]:
    """Writes the log of a service in this process to the process's own standard error, not to that of a command."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    try:
        yield
    finally:
        structlog.reset_defaults()


def output_lines(result: Result) -> list[str]:
    """Returns the lines of the command's output, without the spaces that fill a table."""
    return [line.rstrip() for line in result.stdout.splitlines()]


def document(result: Result) -> Any:
    """Returns the JSON document that the command printed, and nothing else beside it."""
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)
