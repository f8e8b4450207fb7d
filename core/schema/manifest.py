"""What a directory holds, file by file, and the one digest over it: of models and of checkpoints alike."""

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
    """One file: its path below the directory with forward slashes, its size, its sha256 in hex."""

    path: str = Field(description="below the directory, with forward slashes")
    bytes: int = Field(ge=0, description="its size")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of its bytes, in hex")


def manifest(directory: Path) -> list[FileEntry]:
    """Every file of `directory`, sorted by path; links to files are followed, links to directories are not.

    Left out: the manifest itself, and whatever is hidden (what download tools leave behind differs from
    machine to machine, and no model is read from there).
    """
    entries = []
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(directory).as_posix()
            if not name.startswith(".") and relative != MANIFEST_NAME:
                entries.append(file_entry(path, relative))
    return sorted(entries, key=lambda one: one.path)


def file_entry(path: Path, relative: str) -> FileEntry:
    """The entry of one file, read in constant memory."""
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            size += len(block)
    return FileEntry(path=relative, bytes=size, sha256=sha256.hexdigest())


def canonical_json(entries: Iterable[FileEntry]) -> bytes:
    """The entries as canonical JSON (sorted by path, sorted keys, no spaces, UTF-8): the bytes of `manifest.json`."""
    listed = [one.model_dump() for one in sorted(entries, key=lambda one: one.path)]
    return json.dumps(listed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(entries: Iterable[FileEntry]) -> str:
    """sha256, in hex, of the canonical JSON."""
    return hashlib.sha256(canonical_json(entries)).hexdigest()
