"""The figures of the model before unlearning, kept beside the snapshots for later attempts at the job."""

import os
from pathlib import Path

from pydantic import ValidationError

from core.evaluation.cache import code_digest
from core.lm.fingerprint import Fingerprint, StoredFingerprint
from core.schema.evaluation import Measurements
from core.schema.strict import Strict

_NAME = "before.json"


class _BaselineFigures(Strict):
    belongs_to: StoredFingerprint
    measurements: Measurements


def save(folder: Path, fingerprint: Fingerprint, measurements: Measurements) -> None:
    """Writes the figures, which hold no personal data, in one atomic step. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = folder / f"partial-{_NAME}"
    figures = _BaselineFigures(belongs_to=_with_code(fingerprint).stored(), measurements=measurements)
    partial.write_text(figures.model_dump_json())
    os.replace(partial, folder / _NAME)


def load(folder: Path, fingerprint: Fingerprint) -> Measurements | None:
    """Reads the figures; None where there are none of this job by the present measuring code.

    Figures measured after unlearning must be comparable with them."""
    try:
        figures = _BaselineFigures.model_validate_json((folder / _NAME).read_bytes())
    except (OSError, ValidationError):
        return None
    return None if _with_code(fingerprint).differences(figures.belongs_to) else figures.measurements


def _with_code(fingerprint: Fingerprint) -> Fingerprint:
    return Fingerprint({**fingerprint.facts, "measuring": code_digest()}, fingerprint.private)
