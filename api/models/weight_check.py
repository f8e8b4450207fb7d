"""Check of a model's weights against its architecture, in a process that loads torch."""

from pathlib import Path

from api.models import torch_process
from core.schema.models import WeightCheckResult

_CACHE_SIZE = 256
_cache: dict[str, WeightCheckResult] = {}


async def check_weights(directory: Path, digest: str) -> WeightCheckResult:
    """Returns the result of the check; results are cached by `digest`, that of all files of the directory.

    Raises NoAnswer.
    """
    if digest not in _cache:
        result = await torch_process.run("core.lm.weight_check", directory)
        while len(_cache) >= _CACHE_SIZE:
            del _cache[next(iter(_cache))]
        _cache[digest] = result
    return _cache[digest]
