"""Short processes that load torch, which the API itself does not: each answers one question with one JSON line."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from core.schema.models import WeightCheckResult

SECONDS = 600.0
"""Time limit of a process that reads headers only: seconds as a rule, minutes on a busy machine or a network disk."""

_INHERITED = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
"""Variables of the API's environment that the process gets: no address, password or token is among them."""


class NoAnswer(Exception):
    """The process ended without an answer; the message tells how."""


async def run(module: str, *paths: Path, seconds: float | None = None) -> WeightCheckResult:
    """Runs `python -m MODULE PATHS` and returns the answer that it prints.

    Kills the process after `seconds` (default: SECONDS), and when the caller is cancelled. Raises NoAnswer.
    """
    limit = SECONDS if seconds is None else seconds
    process = await start(module, *map(str, paths))
    try:
        async with asyncio.timeout(limit):
            output, _ = await process.communicate()
    except TimeoutError:
        raise NoAnswer(f"took longer than {limit:g} seconds") from None
    finally:
        if process.returncode is None:  # it took too long, or the API stops
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        return WeightCheckResult.model_validate_json(output)
    except ValidationError:
        raise NoAnswer(f"ended with code {process.returncode}") from None


async def start(module: str, *arguments: str) -> asyncio.subprocess.Process:
    """Starts `python -m MODULE ARGUMENTS`, in a session of its own, with a pipe for its standard output."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    )


def environment() -> dict[str, str]:
    """Returns the environment of such a process."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
