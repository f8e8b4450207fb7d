"""Has a process that knows the architectures hold a directory against its model: the API itself loads no torch."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from core.schema.models import Examination

SECONDS = 600.0
"""How long it may take: importing takes seconds, on a busy machine a minute; reading headers over a network more."""

_PASSED_ON = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
"""Of the API's environment: no address, no password, no token."""

_KEPT = 256
_examined: dict[str, Examination] = {}


class NotExamined(Exception):
    """The process ended without an answer; says how."""


async def examined(directory: Path, digest: str) -> Examination:
    """What the process says. `digest`: of all files of the directory, which are examined once. Raises NotExamined."""
    if digest not in _examined:
        examination = await _asked(directory)
        while len(_examined) >= _KEPT:
            del _examined[next(iter(_examined))]
        _examined[digest] = examination
    return _examined[digest]


async def _asked(directory: Path) -> Examination:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "core.lm.examination", str(directory)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        raise NotExamined(f"took longer than {SECONDS:.0f} seconds") from None
    finally:
        if process.returncode is None:  # too slow, or the API stops
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        return Examination.model_validate_json(said)
    except ValidationError:
        raise NotExamined(f"ended with code {process.returncode}") from None


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
