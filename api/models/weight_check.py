"""Has a process that knows the architectures hold a directory against its model: the API itself loads no torch."""

from pathlib import Path

from api.models import torch_process
from core.schema.models import WeightCheckResult

_KEPT = 256
_examined: dict[str, WeightCheckResult] = {}


async def examined(directory: Path, digest: str) -> WeightCheckResult:
    """The result of examining a directory; `digest`, of all its files, is the key by which it is remembered.

    Raises NoAnswer.
    """
    if digest not in _examined:
        examination = await torch_process.ask("core.lm.weight_check", directory)
        while len(_examined) >= _KEPT:
            del _examined[next(iter(_examined))]
        _examined[digest] = examination
    return _examined[digest]
