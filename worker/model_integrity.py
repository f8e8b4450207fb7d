"""Whether a registered model's files are still the ones that were registered."""

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

State = list[list[str | int]]
"""Path, bytes, inode, and times of change of each file: what differs once a file was written or replaced."""


class DigestCache:
    """Digests of model directories by the state of their files, kept in a file on this machine.

    The time of a file's last change of any kind is part of its state: unlike its content's, no program can set it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def of(self, directory: Path) -> str:
        """Returns the directory's digest; its files are read only where their state is new. Raises OSError."""
        state = _state(directory)
        known = self._read()
        if (kept := known.get(str(directory))) is not None and kept["state"] == state:
            return str(kept["digest"])
        found = digest(manifest(directory))
        if _state(directory) == state:  # else it is being written: what was read is no directory's digest
            self._write({**self._read(), str(directory): {"state": state, "digest": found}})
        return found

    def _read(self) -> dict[str, dict[str, object]]:
        try:
            content = json.loads(self._file.read_text())
        except (OSError, ValueError):  # none yet, or one that was cut short: everything is read again
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, known: dict[str, dict[str, object]]) -> None:
        """Keeps the digests, if this machine's disk has room: that it has none is no fault of the model's files."""
        partial = self._file.with_name(f".{self._file.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(known))
            partial.replace(self._file)
        except OSError as error:
            log.warning("digests not kept: a model's files are read again for its next job", extra=error_fields(error))
            with suppress(OSError):
                partial.unlink()


def _state(directory: Path) -> State:
    state: State = []
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            about = path.stat()
            state.append(
                [str(path.relative_to(directory)), about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns]
            )
    return state


async def check(model: ModelRow, known: DigestCache) -> None:
    """Raises AttemptFailed where the model's files are not those that were registered, or cannot be read."""
    if model.directory is None or model.digest is None:
        return
    try:
        found = await asyncio.to_thread(known.of, Path(model.directory))
    except OSError as error:
        raise _failed("model_unreadable", model, f"cannot be read ({error.strerror})") from None
    if found != model.digest:
        raise _failed("model_changed", model, "are not the files that were registered, and nothing was done with them")


def _failed(code: str, model: ModelRow, what: str) -> AttemptFailed:
    message = f"the files of the model '{model.id}' {what}: restore them, or delete the registration and register anew"
    return AttemptFailed(JobError(code=code, message=message, blame="user", retryable=False))
