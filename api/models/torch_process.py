"""Short processes that load torch, which the API does not: each is asked one thing and answers with one JSON line."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from core.schema.models import WeightCheckResult

SECONDS = 600.0
"""The time limit of a process that reads headers alone: it takes seconds, and minutes on a busy machine or a network
disk."""

_PASSED_ON = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
"""Of the API's environment: no address, no password, no token."""


class NoAnswer(Exception):
    """The process ended without an answer; says how."""


async def ask(module: str, *paths: Path, seconds: float | None = None) -> WeightCheckResult:
    """Runs `python -m MODULE PATHS` and returns the answer that it prints.

    It is killed after `seconds` (SECONDS where not given), and when the caller is cancelled. Raises NoAnswer.
    """
    limit = SECONDS if seconds is None else seconds
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, paths)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limit):
            said, _ = await process.communicate()
    except TimeoutError:
        raise NoAnswer(f"took longer than {limit:g} seconds") from None
    finally:
        if process.returncode is None:  # too slow, or the API stops
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        return WeightCheckResult.model_validate_json(said)
    except ValidationError:
        raise NoAnswer(f"ended with code {process.returncode}") from None


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
