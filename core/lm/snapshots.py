"""Snapshots, from which an interrupted job resumes: tensors and values on this machine's disk, complete or absent.

`<root>/<fence>/<step>/` holds the tensors as safetensors and `state.json`, which lists their digests. An attempt
writes under its own fence, reads the snapshots of any earlier attempt, and keeps one snapshot.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.lm.fingerprint import Fingerprint, StoredFingerprint
from core.lm.process_group import SINGLE_RANK, Ranks
from core.schema.events import ChildEvent, Snapshotted, Warned
from core.schema.manifest import FileEntry, file_entry
from core.schema.strict import Strict

STATE = "state.json"
_FILE_BYTES = 1 << 30
"""About the size of one file, which is copied from a device to the host at a time."""
_HASHING_THREADS = 8


class _Part(Strict):
    """The part of a snapshot that one rank has written."""

    files: list[FileEntry]
    values: dict[str, Any]


class _State(Strict):
    """The content of `state.json`."""

    version: Literal[1] = 1
    step: int
    belongs_to: StoredFingerprint
    parts: list[_Part]


@dataclass(frozen=True)
class Snapshot:
    """A complete snapshot. `values` are JSON."""

    step: int
    values: dict[str, Any]
    _paths: list[Path]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yields every tensor with its name, on the CPU. They need not fit into memory together."""
        for path in self._paths:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - no dict
                    yield name, file.get_tensor(name).clone()


class Snapshots:
    """One attempt's view of its job's snapshots. `report` gets an event for each snapshot, or a warning on failure.

    Where several `ranks` share the job they write and read together, each its part. Only rank 0 reports, and only its
    fingerprint counts.
    """

    def __init__(
        self,
        root: Path,
        fence: int,
        fingerprint: Fingerprint,
        *,
        report: Callable[[ChildEvent], None],
        ranks: Ranks = SINGLE_RANK,
    ) -> None:
        self._root, self._fence, self._ranks = root, fence, ranks
        self._fingerprint, self._report = fingerprint, report

    def write(self, step: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> bool:
        """Writes a snapshot and then removes the others. False, with a warning, where the disk fails."""
        folder = self._root / str(self._fence)
        partial, complete = folder / f"partial-{step}", folder / str(step)
        first = self._ranks.rank == 0
        reason: str | None = _failure(lambda: self._prepare(partial, complete)) if first else None
        reason = self._ranks.broadcast(reason)
        if reason is None:
            parts: list[_Part] = []
            failure = _failure(lambda: parts.append(_write_part(partial, self._ranks.rank, tensors, values)))
            shares = self._ranks.gather_items([(failure, parts)])
            reason = next((failure for failure, _ in shares if failure), None)
            if first and reason is None:
                written = [part for _, rank_parts in shares for part in rank_parts]
                reason = _failure(lambda: self._complete(step, written, partial, complete))
            reason = self._ranks.broadcast(reason)
        if not first:
            return reason is None
        if reason is not None:
            shutil.rmtree(partial, ignore_errors=True)
            message = f"a snapshot could not be written ({reason}): interrupted now, the job would lose more work"
            self._report(Warned(code="snapshot_failed", message=message))
            return False
        for folder in self._folders("*"):
            if folder != complete:
                shutil.rmtree(folder, ignore_errors=True)
        self._report(Snapshotted(step=step))
        return True

    def newest(self) -> Snapshot | None:
        """Returns the complete snapshot of the highest step that belongs to this job; None: the job starts anew.

        A warning gives the reason why an existing snapshot is not used.
        """
        newest = self._ranks.broadcast(self._find() if self._ranks.rank == 0 else None)
        if newest is None:
            return None
        folder, state = newest
        part = state.parts[self._ranks.rank]
        return Snapshot(state.step, part.values, [folder / file.path for file in part.files])

    def _prepare(self, partial: Path, complete: Path) -> None:
        partial.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in (partial, complete):
            shutil.rmtree(old, ignore_errors=True)
        partial.mkdir(mode=0o700)

    def _complete(self, step: int, parts: list[_Part], partial: Path, complete: Path) -> None:
        """Makes the snapshot visible, in one step."""
        state = _State(step=step, belongs_to=self._fingerprint.stored(), parts=parts)
        (partial / STATE).write_text(json.dumps(state.model_dump()))
        _flush(partial / STATE)
        _flush(partial)
        partial.rename(complete)
        _flush(complete.parent)

    def _find(self) -> tuple[Path, _State] | None:
        complete = self._folders("[0-9]*")
        for folder in sorted(complete, key=lambda path: (int(path.name), int(path.parent.name)), reverse=True):
            try:
                state = _State.model_validate(json.loads((folder / STATE).read_bytes()))
            except (OSError, ValueError):  # ValidationError and JSONDecodeError are ValueErrors
                self._warn_unused("it is damaged")
                continue
            if differences := self._fingerprint.differences(state.belongs_to):
                self._warn_unused(f"it was made with another {', '.join(differences)}")
                continue
            files = [file for part in state.parts for file in part.files]
            if _entries([folder / file.path for file in files]) != files:
                self._warn_unused("it is damaged")
                continue
            return folder, state
        return None

    def _warn_unused(self, reason: str) -> None:
        message = f"a snapshot of this job is not used, because {reason}: its steps are made anew"
        self._report(Warned(code="snapshot_not_used", message=message))

    def _folders(self, name: str) -> list[Path]:
        """Returns the folders of this attempt and earlier ones: those of a later attempt are not to be touched."""
        return [folder for folder in self._root.glob(f"[0-9]*/{name}") if int(folder.parent.name) <= self._fence]


def _failure(work: Callable[[], object]) -> str | None:
    """Does the work. Returns the reason where the disk fails, in words without a path."""
    try:
        work()
    except (OSError, SafetensorError) as error:
        return (error.strerror if isinstance(error, OSError) else None) or "the disk is full, or failing"
    return None


def _write_part(folder: Path, rank: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> _Part:
    """Writes the tensors in files of bounded size. A file is flushed and hashed while the next one is written."""
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        entries = []
        for number, names in enumerate(_names_by_file(tensors)):
            path = folder / f"tensors-{rank:03}-{number:05}.safetensors"
            # one file's worth at a time: the host need not hold a copy of a device's model
            save_file({name: tensors[name].detach().cpu().contiguous() for name in names}, path)
            entries.append(pool.submit(_flushed_entry, path))
        return _Part(files=[entry.result() for entry in entries], values=dict(values))


def _names_by_file(tensors: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """Yields the tensors' names, in lists of about a file's size."""
    names: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        if names and size + tensor.nbytes > _FILE_BYTES:
            yield names
            names, size = [], 0
        names.append(name)
        size += tensor.nbytes
    if names:
        yield names


def _flushed_entry(path: Path) -> FileEntry:
    _flush(path)
    return file_entry(path, path.name)


def _entries(paths: list[Path]) -> list[FileEntry] | None:
    """Returns the entries of the files as they are on the disk; None where a file cannot be read."""
    try:
        with ThreadPoolExecutor(_HASHING_THREADS) as pool:
            return list(pool.map(lambda path: file_entry(path, path.name), paths))
    except OSError:
        return None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
