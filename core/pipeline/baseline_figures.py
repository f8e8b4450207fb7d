"""The figures of the model before unlearning, kept beside the snapshots for later attempts at the job.

They tell how well the model knew the text, so they are sealed under the job's key as the snapshots are.
"""

import os

from pydantic import ValidationError

from core.evaluation.cache import code_digest
from core.lm.fingerprint import Fingerprint, StoredFingerprint
from core.lm.sealed_file import SealBroken, SealedReader, SealedWriter
from core.schema.evaluation import Measurements
from core.schema.job_spec import SealedFolder
from core.schema.strict import Strict


class _BaselineFigures(Strict):
    belongs_to: StoredFingerprint
    measurements: Measurements


def save(place: SealedFolder, fingerprint: Fingerprint, measurements: Measurements, *, job: str | None = None) -> None:
    """Writes the figures, of `job` where several share a run, in one atomic step. Raises OSError."""
    name = _name(job)
    place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = place.folder / f"partial-{name}"
    partial.unlink(missing_ok=True)
    figures = _BaselineFigures(belongs_to=_with_code(fingerprint).stored(), measurements=measurements)
    with SealedWriter(partial, place.key_bytes, name.encode()) as file:
        file.write(figures.model_dump_json().encode())
    os.replace(partial, place.folder / name)


def load(place: SealedFolder, fingerprint: Fingerprint, *, job: str | None = None) -> Measurements | None:
    """Reads the figures; None where there are none of this job by the present measuring code.

    Figures measured after unlearning must be comparable with them."""
    name = _name(job)
    try:
        with SealedReader(place.folder / name, place.key_bytes, name.encode()) as file:
            figures = _BaselineFigures.model_validate_json(file.read_rest())
    except (OSError, SealBroken, ValidationError):
        return None
    return None if _with_code(fingerprint).differences(figures.belongs_to) else figures.measurements


def _name(job: str | None) -> str:
    return "before.sealed" if job is None else f"before-{job}.sealed"


def _with_code(fingerprint: Fingerprint) -> Fingerprint:
    return Fingerprint({**fingerprint.facts, "measuring": code_digest()}, fingerprint.private)
