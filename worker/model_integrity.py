"""Checks that a registered model's files are still the files that were registered."""

import asyncio
import json
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

from core.records.tables import ModelRow
from core.schema.jobs import JobError
from core.schema.manifest import digest, manifest
from worker.failure import AttemptFailed
from worker.log import LOGGER, error_fields

log = logging.getLogger(LOGGER)

FileStates = list[list[str | int]]
"""Path, bytes, inode, and times of change of each file. They differ once a file was written or replaced."""


class DigestCache:
    """Digests of model directories by the state of their files, kept in a file on this machine.

    A file's state includes its ctime, which no program can set, unlike the time of its content's last change.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def digest_of(self, directory: Path) -> str:
        """Returns the directory's digest, and reads its files only where their state is new. Raises OSError."""
        state = _file_states(directory)
        cached = self._read().get(str(directory))
        if cached is not None and cached["state"] == state:
            return str(cached["digest"])
        current = digest(manifest(directory))
        if _file_states(directory) == state:  # else the directory was written to meanwhile: the digest is of no state
            self._write({**self._read(), str(directory): {"state": state, "digest": current}})
        return current

    def _read(self) -> dict[str, dict[str, object]]:
        try:
            content = json.loads(self._file.read_text())
        except (OSError, ValueError):  # no file yet, or one that was cut short: every directory is read again
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, digests: dict[str, dict[str, object]]) -> None:
        """Writes the digests, if this machine's disk has room: a full disk is not the fault of the model's files."""
        partial = self._file.with_name(f".{self._file.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(digests))
            partial.replace(self._file)
        except OSError as error:
            log.warning("digests not kept: a model's files are read again for its next job", extra=error_fields(error))
            with suppress(OSError):
                partial.unlink()


def _file_states(directory: Path) -> FileStates:
    states: FileStates = []
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            stat = path.stat()
            states.append(
                [str(path.relative_to(directory)), stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
            )
    return states


async def check(model: ModelRow, digests: DigestCache) -> None:
    """Raises AttemptFailed where the model's files are not the registered ones, or cannot be read."""
    if model.directory is None or model.digest is None:
        return
    try:
        current = await asyncio.to_thread(digests.digest_of, Path(model.directory))
    except OSError as error:
        raise _failure("model_unreadable", model, f"cannot be read ({error.strerror})") from None
    if current != model.digest:
        raise _failure("model_changed", model, "are not the files that were registered, and nothing was done with them")


def _failure(code: str, model: ModelRow, fault: str) -> AttemptFailed:
    message = f"the files of the model '{model.id}' {fault}: restore them, or delete the registration and register anew"
    return AttemptFailed(JobError(code=code, message=message, blame="user", retryable=False))
