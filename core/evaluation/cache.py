"""What was measured of a model that has not changed, on records that have not changed, by code that has not changed.

A folder of this machine. File names are keyed digests (HMAC under a key that lies in the folder): they say nothing of
the records. Per-record values of the forget set are never kept, figures of it are.
"""

import hashlib
import hmac
import io
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
import transformers
from pydantic import ValidationError

import core
from core.evaluation.bootstrap import Values
from core.schema.evaluation import Found
from core.schema.files import Record
from core.schema.training import Training

MOST_BYTES = 256 << 20
"""Beyond this the longest unused goes."""

_KEY = "key"


@cache
def code_version() -> str:
    """The digest of the code that measures, of the libraries that it stands on, and of how this machine computes."""
    whole = hashlib.sha256()
    root = Path(core.__file__).parent
    for file in sorted([*root.joinpath("evaluation").rglob("*.py"), *root.joinpath("lm").rglob("*.py")]):
        whole.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else torch.backends.cpu.get_cpu_capability()
    whole.update(json.dumps([torch.__version__, transformers.__version__, np.__version__, where]).encode())
    return whole.hexdigest()


class Cache:
    """The kept measurements of one model."""

    def __init__(self, folder: Path, *, model_digest: str, dtype: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._key = _key_of(folder)
        self._model = [model_digest, dtype, torch.get_num_threads()]

    def columns(self, key: str, records: Sequence[Record], training: Training) -> dict[str, Values] | None:
        """The columns that were kept under the key, if any."""
        file = self._file("npz", key, _of(records), _reading(training))
        try:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as found:
                columns = {name: found[name] for name in found.files}
        except (OSError, ValueError, BadZipFile):
            return None
        _used(file)
        return columns

    def keep_columns(
        self, key: str, records: Sequence[Record], training: Training, columns: Mapping[str, Values]
    ) -> None:
        kept = io.BytesIO()
        np.savez(kept, allow_pickle=False, **columns)
        self._write(self._file("npz", key, _of(records), _reading(training)), kept.getvalue())

    def found(self, key: Any, sets: Mapping[str, Sequence[Record]], training: Training) -> Found | None:
        """What a measurement found of these very sets, if it was kept."""
        file = self._file("json", key, {name: _of(records) for name, records in sets.items()}, _reading(training))
        try:
            found = Found.model_validate_json(file.read_bytes())
        except (OSError, ValidationError):
            return None
        _used(file)
        return found

    def keep_found(self, key: Any, sets: Mapping[str, Sequence[Record]], training: Training, found: Found) -> None:
        file = self._file("json", key, {name: _of(records) for name, records in sets.items()}, _reading(training))
        self._write(file, found.model_dump_json().encode())

    def _file(self, kind: str, *parts: Any) -> Path:
        whole = json.dumps([code_version(), self._model, kind, *parts], sort_keys=True).encode()
        return self._folder / f"{hmac.new(self._key, whole, hashlib.sha256).hexdigest()}.{kind}"

    def _write(self, file: Path, content: bytes) -> None:
        """Found whole or not at all; a full disk only means that it is measured again."""
        partial = file.with_name(f".{secrets.token_hex(8)}")
        try:
            partial.write_bytes(content)
            os.replace(partial, file)
            self._make_room()
        except OSError:
            partial.unlink(missing_ok=True)

    def _make_room(self) -> None:
        kept = sorted(
            (stat.st_mtime, stat.st_size, file)
            for file in self._folder.iterdir()
            if file.suffix in (".npz", ".json") and (stat := _stat(file))
        )
        total = sum(size for _, size, _ in kept)
        for _, size, file in kept:
            if total <= MOST_BYTES:
                return
            file.unlink(missing_ok=True)
            total -= size


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except FileNotFoundError:
        return None


def _used(file: Path) -> None:
    try:
        os.utime(file)
    except FileNotFoundError:
        return


def _of(records: Sequence[Record]) -> str:
    whole = hashlib.sha256()
    for record in records:
        whole.update(hashlib.sha256(record.model_dump_json(exclude_none=True).encode()).digest())
    return whole.hexdigest()


def _reading(training: Training) -> list[Any]:
    """What of a training decides how records are read and added up."""
    return [training.max_length, training.chat, training.micro_batch_tokens, training.seed]


def _key_of(folder: Path) -> bytes:
    """The folder's key, made once; whoever comes second takes the first one's."""
    file = folder / _KEY
    partial = folder / f".{secrets.token_hex(8)}"
    if not file.exists():
        partial.touch(mode=0o600)
        partial.write_bytes(secrets.token_bytes(32))
        try:
            os.link(partial, file)
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return file.read_bytes()
