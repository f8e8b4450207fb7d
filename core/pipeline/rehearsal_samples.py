"""The cache of rehearsal samples of a job's model, from which the text that the job is to forget is dropped first."""

import hashlib
import json
from pathlib import Path

from core.evaluation.cache import code_digest
from core.pipeline.forgotten_text import ForgottenText
from core.pipeline.phases import Emit
from core.schema.events import Warned
from core.schema.job_spec import UnlearnSpec
from core.unlearning import rehearsal
from core.unlearning.rehearsal_cache import JobSamples, RehearsalCache

_SOURCE = hashlib.sha256(Path(rehearsal.__file__).read_bytes()).hexdigest()
"""Computed on import: a file that is replaced while a job runs is not the code that writes."""


def open_cache(spec: UnlearnSpec, forgotten: ForgottenText, model_digest: str, emit: Emit) -> RehearsalCache | None:
    """Opens the cache, whatever the method, and drops samples that repeat the forget set where no other set does.

    None where the job has no cache, and, with a warning, where its folder cannot be used.
    """
    if spec.samples is None:
        return None
    training = spec.training
    identity = [model_digest, spec.dtype, training.master_weights, training.precision, code_digest(), _SOURCE]
    cache = RehearsalCache(
        spec.samples.folder,
        spec.samples.key_bytes,
        hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
        None if spec.snapshots is None else JobSamples(spec.snapshots.folder, spec.snapshots.key_bytes),
    )
    try:
        cache.bar(forgotten.runs)
    except OSError as error:
        message = f"the folder of samples cannot be used ({type(error).__name__}): the model writes them anew"
        emit(Warned(code="samples_not_kept", message=message))
        return None
    return cache
