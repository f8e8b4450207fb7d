"""Version of the code that measures and of the libraries it uses. Imports none of them, so that any process may ask."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import core

_FOLDERS = ("evaluation", "lm", "schema")
_FILES = (
    "pipeline/containment.py",
    "pipeline/data_split.py",
    "pipeline/scorable_records.py",
    "unlearning/eval_tokenization.py",
)
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
    """SHA-256 of the source files on disk that decide the figures."""
    root = _root()
    files = [file for name in _FOLDERS for file in root.joinpath(name).rglob("*.py")]
    return _digest([*files, *(root / name for name in _FILES)])


def core_digest() -> str:
    """SHA-256 of all source files of `core` on disk."""
    return _digest(_root().rglob("*.py"))


def _root() -> Path:
    return Path(core.__file__).parent


def _digest(files: Iterable[Path]) -> str:
    sha256, root = hashlib.sha256(), _root()
    for file in sorted(files):
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
