"""What was measured of a model that has not changed, on records that have not changed, by code that has not changed.

A folder of this machine, of one organisation (how quickly something was measured says whether it had been before).
File names are keyed digests (HMAC under a key that lies in the folder): they say nothing of the records. Of the forget
set and its probes nothing is kept, neither values of single records nor figures (who deletes a job's files would not
look here): whoever asks sees to that. Of a benchmark's, which are nobody's, the values may be (`keeps_forget_set`), as
all its jobs measure the same ones.
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
"""Beyond this the longest unused goes."""

_KEY, _KEY_BYTES = "key", 32
_BROKEN_OFF_SECONDS = 3600.0


class CacheUnusable(Exception):
    """Nothing can be kept in the folder: it cannot be written, or others could write what is found there."""


_SOURCES = code_version.digest()
"""Read as this process imports the code: what is put in its place while a job runs is not what measures."""


@cache
def code_digest() -> str:
    """The digest of the code that measures, of the libraries that it stands on, and of how this machine computes."""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else torch.backends.cpu.get_cpu_capability()
    parts = [_SOURCES, sys.version, zlib.ZLIB_RUNTIME_VERSION, code_version.libraries(), where]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class MeasurementCache:
    """The kept measurements of one model. Many processes may share the folder."""

    def __init__(self, folder: Path, *, model_digest: str, dtype: str, keeps_forget_set: bool = False) -> None:
        """Makes the folder, private to this user, where there is none. Raises CacheUnusable."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            about = folder.stat()
            if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077:
                raise CacheUnusable("the folder for kept measurements is not private to the user who measures")
            self._key = _key_of(folder)
        except OSError as error:
            raise CacheUnusable(f"the folder for kept measurements cannot be used ({type(error).__name__})") from None
        self._folder = folder
        self.keeps_forget_set = keeps_forget_set
        self._model = [model_digest, dtype, torch.get_num_threads()]

    def columns(self, key: str, records: Sequence[Record], training: Training) -> dict[str, Values] | None:
        """The columns that were kept under the key, if any."""
        file = self._file("npz", key, _of(records), _reading(training))
        try:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as found:
                columns = {name: found[name] for name in found.files}
        except (OSError, ValueError, EOFError, BadZipFile):  # not there, or a crash has left half of it
            return None
        _used(file)
        return columns

    def keep_columns(
        self, key: str, records: Sequence[Record], training: Training, columns: Mapping[str, Values]
    ) -> None:
        kept = io.BytesIO()
        np.savez(kept, allow_pickle=False, **columns)
        self._write(self._file("npz", key, _of(records), _reading(training)), kept.getvalue())

    def result(self, key: Any, sets: Mapping[str, Sequence[Record]], training: Training) -> MeasurementResult | None:
        """What a measurement found of these very sets, if it was kept."""
        file = self._file("json", key, {name: _of(records) for name, records in sets.items()}, _reading(training))
        try:
            found = MeasurementResult.model_validate_json(file.read_bytes())
        except (OSError, ValidationError):
            return None
        _used(file)
        return found

    def keep_result(
        self, key: Any, sets: Mapping[str, Sequence[Record]], training: Training, found: MeasurementResult
    ) -> None:
        file = self._file("json", key, {name: _of(records) for name, records in sets.items()}, _reading(training))
        self._write(file, found.model_dump_json().encode())

    def _file(self, kind: str, *parts: Any) -> Path:
        whole = json.dumps([code_digest(), self._model, kind, *parts], sort_keys=True).encode()
        return self._folder / f"{hmac.new(self._key, whole, hashlib.sha256).hexdigest()}.{kind}"

    def _write(self, file: Path, content: bytes) -> None:
        """Found whole or not at all; a full disk only means that it is measured again."""
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
            if file.name == _KEY or (about := _about(file)) is None:
                continue
            if file.name.startswith("."):  # of a process that is writing, or was killed as it wrote
                if about.st_mtime < time.time() - _BROKEN_OFF_SECONDS:
                    file.unlink(missing_ok=True)
                continue
            kept.append((about.st_mtime, about.st_size, file))
            total += about.st_size
        for _, size, file in sorted(kept):
            if total <= MOST_BYTES:
                return
            file.unlink(missing_ok=True)
            total -= size


def _about(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except FileNotFoundError:
        return None


def _used(file: Path) -> None:
    with suppress(OSError):  # gone by now: then it was not the longest unused alone
        os.utime(file)


def _of(records: Sequence[Record]) -> str:
    whole = hashlib.sha256()
    for record in records:
        whole.update(record.digest())
    return whole.hexdigest()


def _reading(training: Training) -> list[Any]:
    """What of a training decides how records are read, by which weights, and how they are added up."""
    return [
        training.max_length,
        training.chat,
        training.micro_batch_tokens,
        training.master_weights,
        training.seed,
    ]


def _key_of(folder: Path) -> bytes:
    """The folder's key, made once; whoever comes second takes the first one's. Raises OSError."""
    file = folder / _KEY
    key = _key_in(file)
    if key is None:
        partial = folder / f".{secrets.token_hex(8)}"
        try:
            partial.touch(mode=0o600)
            partial.write_bytes(secrets.token_bytes(_KEY_BYTES))
            with suppress(FileExistsError):
                os.link(partial, file)
        finally:
            partial.unlink(missing_ok=True)
        key = _key_in(file)
    if key is None:
        raise OSError("the key was taken away as it was made")
    return key


def _key_in(file: Path) -> bytes | None:
    try:
        key = file.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) == _KEY_BYTES:
        return key
    file.unlink(missing_ok=True)  # a crash has left half of it: what was kept under it is not found any more
    return None
