"""Snapshots, from which an interrupted job resumes: tensors and values on this machine's disk, complete or absent.

`<root>/<fence>/<step>/` holds files of tensors and `state.sealed`, which lists them. The weights of an unfinished job
still know the text that it is to forget, so every file is sealed under the job's key: without the key nobody reads it,
and an altered file is noticed. A file opens only under its own fence, step and name. An attempt writes under its own
fence, reads the snapshots of any earlier attempt, and keeps one snapshot.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from core.lm.errors import CoreError
from core.lm.fingerprint import Fingerprint, StoredFingerprint
from core.lm.process_group import SINGLE_RANK, Ranks
from core.lm.sealed_file import SealBroken, SealedReader, SealedWriter, flush_to_disk
from core.lm.sealed_tensors import read_tensors, write_tensors
from core.schema.events import ChildEvent, Snapshotted, Warned
from core.schema.strict import Strict

STATE = "state.sealed"
_FILE_BYTES = 1 << 30
"""About the size of one file, which is flushed to the disk while the next one is written."""
_DISK_THREADS = 8


class _Part(Strict):
    """The part of a snapshot that one rank has written."""

    files: list[str]
    values: dict[str, Any]


class _State(Strict):
    """The content of the file of this name."""

    version: Literal[5] = 5
    step: int
    belongs_to: StoredFingerprint
    parts: list[_Part]


@dataclass(frozen=True)
class Snapshot:
    """A complete snapshot. `values` are JSON."""

    step: int
    values: dict[str, Any]
    _paths: list[Path]
    _key: bytes

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yields every tensor with its name, on the CPU. They need not fit into memory together.

        CoreError `snapshot_damaged`: the disk gives other bytes than when the snapshot was found.
        """
        for path in self._paths:
            try:
                yield from read_tensors(path, self._key, _context(path.parent, path.name))
            except (SealBroken, OSError) as error:
                message = "the snapshot that the job was resuming from could no longer be read; the job begins anew"
                raise CoreError("snapshot_damaged", message, blame="service", retryable=True) from error


class Snapshots:
    """One attempt's view of its job's snapshots, sealed under the job's `key` of 32 bytes.

    `report` gets an event for each snapshot, or a warning on failure.

    Where several `ranks` share the job they write and read together, each its part. Only rank 0 reports, and only its
    fingerprint counts.
    """

    def __init__(
        self,
        root: Path,
        fence: int,
        fingerprint: Fingerprint,
        *,
        key: bytes,
        report: Callable[[ChildEvent], None],
        ranks: Ranks = SINGLE_RANK,
    ) -> None:
        self._root, self._fence, self._key, self._ranks = root, fence, key, ranks
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
            failure = _failure(lambda: parts.append(self._write_part(partial, complete, tensors, values)))
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
        return Snapshot(state.step, part.values, [folder / name for name in part.files], self._key)

    def _prepare(self, partial: Path, complete: Path) -> None:
        partial.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in (partial, complete):
            shutil.rmtree(old, ignore_errors=True)
        partial.mkdir(mode=0o700)

    def _complete(self, step: int, parts: list[_Part], partial: Path, complete: Path) -> None:
        """Makes the snapshot visible, in one step."""
        state = _State(step=step, belongs_to=self._fingerprint.stored(), parts=parts)
        with SealedWriter(partial / STATE, self._key, _context(complete, STATE)) as file:
            file.write(json.dumps(state.model_dump()).encode())
        flush_to_disk(partial / STATE)
        flush_to_disk(partial)
        partial.rename(complete)
        flush_to_disk(complete.parent)

    def _write_part(
        self, partial: Path, complete: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
    ) -> _Part:
        """Writes this rank's tensors in files of bounded size."""
        with ThreadPoolExecutor(_DISK_THREADS) as pool:
            files, flushed = [], []
            for number, names in enumerate(_names_by_file(tensors)):
                file = f"tensors-{self._ranks.rank:03}-{number:05}.sealed"
                write_tensors(
                    partial / file, {name: tensors[name] for name in names}, self._key, _context(complete, file)
                )
                files.append(file)
                flushed.append(pool.submit(flush_to_disk, partial / file))
            for future in flushed:
                future.result()
            return _Part(files=files, values=dict(values))

    def _find(self) -> tuple[Path, _State] | None:
        complete = self._folders("[0-9]*")
        for folder in sorted(complete, key=lambda path: (int(path.name), int(path.parent.name)), reverse=True):
            try:
                state = _State.model_validate(json.loads(self._read(folder, STATE)))
            except (OSError, SealBroken, ValueError):  # ValidationError and JSONDecodeError are ValueErrors
                self._warn_unused("it does not open: it is damaged, or its key was destroyed")
                continue
            if differences := self._fingerprint.differences(state.belongs_to):
                self._warn_unused(f"it was made with another {', '.join(differences)}")
                continue
            if not self._is_whole(folder, [name for part in state.parts for name in part.files]):
                self._warn_unused("it is damaged")
                continue
            return folder, state
        return None

    def _read(self, folder: Path, name: str) -> bytes:
        with SealedReader(folder / name, self._key, _context(folder, name)) as file:
            return file.read_rest()

    def _is_whole(self, folder: Path, names: list[str]) -> bool:
        """Returns whether every file opens to its end: training must not begin on half of a snapshot."""

        def verify(name: str) -> None:
            with SealedReader(folder / name, self._key, _context(folder, name)) as file:
                file.verify_rest()

        try:
            with ThreadPoolExecutor(_DISK_THREADS) as pool:
                for _ in pool.map(verify, names):
                    pass
        except (OSError, SealBroken):
            return False
        return True

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
    except OSError as error:
        return error.strerror or "the disk is full, or failing"
    return None


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


def _context(folder: Path, name: str) -> bytes:
    """Returns the place of a snapshot's file, which its seal covers: `<fence>/<step>/<name>`."""
    return f"{folder.parent.name}/{folder.name}/{name}".encode()
