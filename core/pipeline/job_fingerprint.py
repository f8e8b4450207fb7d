"""What a job's snapshots and figures belong to: all that would make them another's."""

import hashlib
from collections.abc import Sequence

import torch
import transformers

from core.lm.fingerprint import Fingerprint
from core.lm.model import device
from core.schema.job_spec import RecordSet, UnlearnSpec


def job_fingerprint(spec: UnlearnSpec, sets: Sequence[RecordSet], model_digest: str) -> Fingerprint:
    """Model, method, training and records, and what decides how sums are rounded: versions, threads, device."""
    place = device()
    arithmetic: dict[str, str | int]
    if place.type == "cuda":
        arithmetic = {"device": torch.cuda.get_device_name(place)}
    else:
        arithmetic = {"device": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
    return Fingerprint(
        {
            "model": model_digest,
            "dtype": spec.dtype,
            "method": spec.method.model_dump(mode="json"),
            "training": spec.training.model_dump(mode="json", exclude={"snapshot_every"}),
            "ranks": spec.ranks,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            **arithmetic,
        },
        _digest(sets),
    )


def _digest(sets: Sequence[RecordSet]) -> bytes:
    whole = hashlib.sha256()
    for one in sets:
        whole.update(hashlib.sha256(one.model_dump_json(exclude_none=True).encode()).digest())
    return whole.digest()
