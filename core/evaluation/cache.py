"""Cache of measurements: results for the same model, the same records and the same code are not measured again.

A cache is a folder of this machine for one organisation: how quickly a measurement ends would tell another organisation
that it had been made before. File names are keyed digests (HMAC under a key in the folder), so they reveal nothing of
the records. Nothing about the forget set and its probes is kept, neither values of records nor figures: deleting a
job's files does not delete anything here. The callers see to that. Benchmarks of the product, whose records belong to
nobody, may keep these values too (`keeps_forget_set`), since all their jobs measure the same records.
"""

import hashlib
import hmac
import io
import json
import os
import secrets
import stat
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from pydantic import ValidationError

from core.evaluation import code_version
from core.evaluation.stats.bootstrap import Values
from core.schema.evaluation import MeasurementResult
from core.schema.record import Record
from core.schema.training import Training

MOST_BYTES = 256 << 20
"""Above this size the files that were unused for the longest time are deleted."""

_KEY, _KEY_BYTES = "key", 32
_ABANDONED_SECONDS = 3600.0


class CacheUnusable(Exception):
    """The folder cannot serve as a cache: it cannot be written, or other users could write into it."""


_SOURCES = code_version.digest()
"""Computed on import: files that are replaced while a job runs are not the code that measures."""


@cache
def code_digest() -> str:
    """Digest of the code that measures, of its libraries, and of the hardware that computes."""
    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else torch.backends.cpu.get_cpu_capability()
    parts = [_SOURCES, sys.version, zlib.ZLIB_RUNTIME_VERSION, code_version.libraries(), hardware]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class MeasurementCache:
    """The cached results of one model. Many processes may share the folder."""

    def __init__(self, folder: Path, *, model_digest: str, dtype: str, keeps_forget_set: bool = False) -> None:
        """Creates the folder, private to this user, if it is missing. Raises CacheUnusable."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise CacheUnusable("the folder for kept measurements is not private to the user who measures")
            self._key = _load_key(folder)
        except OSError as error:
            raise CacheUnusable(f"the folder for kept measurements cannot be used ({type(error).__name__})") from None
        self._folder = folder
        self.keeps_forget_set = keeps_forget_set
        self._model = [model_digest, dtype, torch.get_num_threads()]

    def columns(self, key: str, records: Sequence[Record], training: Training) -> dict[str, Values] | None:
        """The columns that are kept under the key, or None."""
        file = self._file("npz", key, _records_digest(records), _eval_settings(training))
        try:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as archive:
                columns = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, BadZipFile):  # the file is missing, or a crash left half of it
            return None
        _mark_used(file)
        return columns

    def keep_columns(
        self, key: str, records: Sequence[Record], training: Training, columns: Mapping[str, Values]
    ) -> None:
        kept = io.BytesIO()
        np.savez(kept, allow_pickle=False, **columns)
        self._write(self._file("npz", key, _records_digest(records), _eval_settings(training)), kept.getvalue())

    def result(self, key: Any, sets: Mapping[str, Sequence[Record]], training: Training) -> MeasurementResult | None:
        """The result that is kept under the key for these sets, or None."""
        file = self._file(
            "json", key, {name: _records_digest(records) for name, records in sets.items()}, _eval_settings(training)
        )
        try:
            result = MeasurementResult.model_validate_json(file.read_bytes())
        except (OSError, ValidationError):
            return None
        _mark_used(file)
        return result

    def keep_result(
        self, key: Any, sets: Mapping[str, Sequence[Record]], training: Training, result: MeasurementResult
    ) -> None:
        file = self._file(
            "json", key, {name: _records_digest(records) for name, records in sets.items()}, _eval_settings(training)
        )
        self._write(file, result.model_dump_json().encode())

    def _file(self, kind: str, *parts: Any) -> Path:
        identity = json.dumps([code_digest(), self._model, kind, *parts], sort_keys=True).encode()
        return self._folder / f"{hmac.new(self._key, identity, hashlib.sha256).hexdigest()}.{kind}"

    def _write(self, file: Path, content: bytes) -> None:
        """Writes a file atomically. Ignores a full disk: the result is then measured again."""
        partial = file.with_name(f".{secrets.token_hex(8)}")
        try:
            partial.write_bytes(content)
            os.replace(partial, file)
            self._make_room()
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _make_room(self) -> None:
        kept, total = [], 0
        for file in self._folder.iterdir():
            if file.name == _KEY or (status := _status(file)) is None:
                continue
            if file.name.startswith("."):  # a process is writing it, or was killed while it wrote
                if status.st_mtime < time.time() - _ABANDONED_SECONDS:
                    file.unlink(missing_ok=True)
                continue
            kept.append((status.st_mtime, status.st_size, file))
            total += status.st_size
        for _, size, file in sorted(kept):
            if total <= MOST_BYTES:
                return
            file.unlink(missing_ok=True)
            total -= size


def _status(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except FileNotFoundError:
        return None


def _mark_used(file: Path) -> None:
    with suppress(OSError):  # another process may have deleted it by now
        os.utime(file)


def _records_digest(records: Sequence[Record]) -> str:
    sha256 = hashlib.sha256()
    for record in records:
        sha256.update(record.digest())
    return sha256.hexdigest()


def _eval_settings(training: Training) -> list[Any]:
    """The training settings that decide how records are read, which weights measure, and the order of sums."""
    return [
        training.max_length,
        training.chat,
        training.micro_batch_tokens,
        training.master_weights,
        training.seed,
    ]


def _load_key(folder: Path) -> bytes:
    """Reads the folder's key, or creates it; of two processes that create it, the first one wins. Raises OSError."""
    file = folder / _KEY
    key = _read_key(file)
    if key is None:
        partial = folder / f".{secrets.token_hex(8)}"
        try:
            partial.touch(mode=0o600)
            partial.write_bytes(secrets.token_bytes(_KEY_BYTES))
            with suppress(FileExistsError):
                os.link(partial, file)
        finally:
            partial.unlink(missing_ok=True)
        key = _read_key(file)
    if key is None:
        raise OSError("the key was taken away as it was made")
    return key


def _read_key(file: Path) -> bytes | None:
    try:
        key = file.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) == _KEY_BYTES:
        return key
    file.unlink(missing_ok=True)  # a crash left half of it: files under the old key are not found any more
    return None
