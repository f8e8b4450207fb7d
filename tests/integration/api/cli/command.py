"""The command in this process, and its output."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from click.testing import Result

Run = Callable[..., Coroutine[Any, Any, Result]]


def output_lines(result: Result) -> list[str]:
    """Returns the command's own lines, without the log of the service, which runs in the same process."""
    return [line.rstrip() for line in result.stdout.splitlines() if "[info " not in line]


def document(result: Result) -> Any:
    """Returns the JSON document that the command printed, and nothing else beside it."""
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return json.loads("\n".join(output_lines(result)))
