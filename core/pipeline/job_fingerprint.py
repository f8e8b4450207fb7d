"""The fingerprint of a job, which its snapshots and baseline figures carry: everything that their values depend on."""

import hashlib
from collections.abc import Sequence

import torch
import transformers

from core.lm.fingerprint import Fingerprint
from core.lm.model import device
from core.schema.job_spec import RecordSet, UnlearnSpec

_FIRST_FIELDS = frozenset({"name", "kind", "weight", "part", "records"})
"""Fields of a set that digests have covered from the first on, `weight` even where it is the default."""


def job_fingerprint(spec: UnlearnSpec, sets: Sequence[RecordSet], model_digest: str) -> Fingerprint:
    """Covers model, method, training, records, and what decides rounding: library versions, threads, device."""
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
    digest = hashlib.sha256()
    for record_set in sets:
        text = record_set.model_dump_json(exclude_none=True, exclude=_later_defaults(record_set))
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.digest()


def _later_defaults(record_set: RecordSet) -> set[str]:
    """Returns the fields beyond the first ones that have their default: a field added later changes no digest."""
    return {
        name
        for name, field in type(record_set).model_fields.items()
        if name not in _FIRST_FIELDS
        and not field.is_required()
        and getattr(record_set, name) == field.get_default(call_default_factory=True)
    }
