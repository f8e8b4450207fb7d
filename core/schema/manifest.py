"""The manifest of a directory, of a model or a checkpoint: its files, and one digest of them all."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from core.schema.strict import Strict

MANIFEST_NAME = "manifest.json"
_BLOCK = 1 << 20


class FileEntry(Strict):
    """A file of a directory."""

    path: str = Field(description="The path below the directory, with forward slashes.")
    bytes: int = Field(ge=0, description="The size in bytes.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="The sha256 of the file's bytes, in hexadecimal digits.")


def manifest(directory: Path) -> list[FileEntry]:
    """Returns every file of a directory, sorted by path. Links to files are followed, links to directories are not.

    The manifest itself and hidden files are left out: download tools leave hidden files that differ from machine to
    machine, and no model is read from them.
    """
    entries = []
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(directory).as_posix()
            if not name.startswith(".") and relative != MANIFEST_NAME:
                entries.append(file_entry(path, relative))
    return sorted(entries, key=lambda entry: entry.path)


def file_entry(path: Path, relative: str) -> FileEntry:
    """Returns the entry of a file, which is read in constant memory."""
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            size += len(block)
    return FileEntry(path=relative, bytes=size, sha256=sha256.hexdigest())


def canonical_json(entries: Iterable[FileEntry]) -> bytes:
    """Returns the bytes of manifest.json: canonical JSON, sorted by path, with sorted keys, no spaces, in UTF-8."""
    listed = [entry.model_dump() for entry in sorted(entries, key=lambda entry: entry.path)]
    return json.dumps(listed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(entries: Iterable[FileEntry]) -> str:
    """Returns the sha256 of the canonical JSON, in hexadecimal digits."""
    return hashlib.sha256(canonical_json(entries)).hexdigest()
