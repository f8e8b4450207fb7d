"""The figures of the model as it came, kept beside the snapshots: an interrupted job need not measure it again."""

import os
from pathlib import Path

from pydantic import ValidationError

from core.evaluation.cache import code_digest
from core.lm.fingerprint import Fingerprint, StoredFingerprint
from core.schema.evaluation import Measurements
from core.schema.strict import Strict

_NAME = "before.json"


class _Kept(Strict):
    belongs_to: StoredFingerprint
    measurements: Measurements


def save(folder: Path, fingerprint: Fingerprint, measurements: Measurements) -> None:
    """Writes the figures, which name nobody; they are found whole or not at all. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = folder / f"partial-{_NAME}"
    kept = _Kept(belongs_to=_measured(fingerprint).stored(), measurements=measurements)
    partial.write_text(kept.model_dump_json())
    os.replace(partial, folder / _NAME)


def load(folder: Path, fingerprint: Fingerprint) -> Measurements | None:
    """The figures, if there are any of this very job by the code that measures today: what is measured afterwards must
    be comparable with them."""
    try:
        found = _Kept.model_validate_json((folder / _NAME).read_bytes())
    except (OSError, ValidationError):
        return None
    return None if _measured(fingerprint).differences(found.belongs_to) else found.measurements


def _measured(fingerprint: Fingerprint) -> Fingerprint:
    return Fingerprint({**fingerprint.facts, "measuring": code_digest()}, fingerprint.private)
