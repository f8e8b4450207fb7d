"""Which code measures, and on which libraries it stands. Without them: whoever keeps figures may ask."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import core

_FOLDERS = ("evaluation", "lm", "schema")
_FILES = ("pipeline/data_split.py", "pipeline/scorable_records.py", "unlearning/eval_tokenization.py")
"""What decides what is measured and how, of the package `core`: which records, read how, put through what."""

_STAND_ON = (
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "scipy",
    "scikit-learn",
    "rouge-score",
    "torchao",
    "lm_eval",
)


def digest() -> str:
    """The sha256 of the source as it lies there."""
    whole = hashlib.sha256()
    root = Path(core.__file__).parent
    files = [file for name in _FOLDERS for file in root.joinpath(name).rglob("*.py")]
    for file in sorted([*files, *(root / name for name in _FILES)]):
        whole.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()


def libraries() -> dict[str, str | None]:
    """The versions that are installed; None of what is not."""
    return {name: _version(name) for name in _STAND_ON}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
