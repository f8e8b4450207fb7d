"""Version of the code that measures and of the libraries it uses. Imports none of them, so that any process may ask."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import core

_FOLDERS = ("evaluation", "lm", "schema")
_FILES = ("pipeline/data_split.py", "pipeline/scorable_records.py", "unlearning/eval_tokenization.py")
"""The parts of `core` that decide the figures: which records are measured, how they are read, what is computed."""

_LIBRARIES = (
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
    """SHA-256 of the source files on disk."""
    sha256 = hashlib.sha256()
    root = Path(core.__file__).parent
    files = [file for name in _FOLDERS for file in root.joinpath(name).rglob("*.py")]
    for file in sorted([*files, *(root / name for name in _FILES)]):
        sha256.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return sha256.hexdigest()


def libraries() -> dict[str, str | None]:
    """Installed versions, by library; None for a library that is not installed."""
    return {name: _version(name) for name in _LIBRARIES}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
