"""The key of jobs that may share a run: they differ in nothing but the text to forget and the questions about it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.schema.evaluation import SetName

OWN_SETS: frozenset[SetName] = frozenset({"forget", "probes"})
"""Sets that each job of a shared run has for itself. All other sets are the same for all of them."""


def combine_key(settings: Mapping[str, Any], files: Sequence[Sequence[Any]]) -> str:
    """Returns the key that jobs of one model have in common if they may share a run.

    `settings` are the start, the method with its parameters, the training options that the request names, those that
    were filled in, the output, the GPUs, the measurements and the policy; `files` the files of all sets but OWN_SETS,
    with their uses.
    """
    content = json.dumps([settings, sorted(map(list, files), key=str)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()
