"""Cache of rehearsal samples: texts that a model wrote by itself, for later jobs on the same registered model.

A model that has memorised personal data writes it now and then, so the samples are sealed (AES-256-GCM) under a key of
the registered model, which the caller holds: without the key they are gone. Samples that repeat the text of a forget
set are dropped as soon as a job is to forget it (`bar`), and never kept again: the cache remembers keyed digests of
the forgotten runs of tokens, which give no text away.

A sample is known by its number, counted from 0. Under the same settings the same number is always the same text, so a
cache with too few samples is extended.
"""

import fcntl
import hashlib
import hmac
import io
import json
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from core.unlearning.token_runs import TokenRun, runs_of

MOST_BYTES = 256 << 20
"""Above this size of a model's folder, the files that were unused for the longest time are deleted."""

_NONCE = 12
_LOCK, _BARRED, _SAMPLES = "lock", "barred", ".samples"

Sample = list[int]
"""Token ids, from the token that begins every text, or from a prompt on."""


@dataclass(frozen=True)
class SampleSettings:
    """Everything but the model that decides the samples' text. `length` counts the tokens of the longest sample, of
    which number i answers prompt i modulo their number. Without prompts each begins with the token of every text."""

    temperature: float
    seed: int
    length: int
    prompts: tuple[tuple[int, ...], ...] = ()
    first_temperature: float | None = None
    """Without prompts: the temperature of the first token of every second sample. The first token of the others has a
    temperature of 1. None: all tokens have the same temperature."""
    first_least: float = 0.0
    """A first token drawn at `first_temperature` has at least this probability."""


@dataclass(frozen=True)
class JobSamples:
    """Where the samples of a running job lie, sealed under the job's key, so that it resumes with the same samples."""

    folder: Path
    key: bytes
    """32 bytes; destroyed with the job's end."""


@dataclass(frozen=True)
class RehearsalCache:
    """The samples of one registered model, in a private folder that many processes may share."""

    folder: Path
    key: bytes
    """32 bytes."""
    identity: str = ""
    """The model's digest, and all else that decides its samples beside the settings: another one, other samples."""
    job: JobSamples | None = None

    def load(self, settings: SampleSettings) -> list[Sample | None]:
        """The samples by number; None: dropped. Empty where there are none that this key opens."""
        return self._read(self.folder / self._name(settings)) or []

    def keep(self, settings: SampleSettings, samples: Sequence[Sample | None]) -> None:
        """Keeps the samples by number, but for those that repeat a forgotten text. A full disk keeps nothing."""
        with suppress(OSError), self._locked():
            file = self.folder / self._name(settings)
            if len(self._read(file) or []) < len(samples):
                self._write(file, self._without_barred(samples, self._barred()))
                self._make_room()

    def bar(self, runs: Collection[TokenRun]) -> None:
        """Drops every sample with one of the runs, under any settings, now and later. Raises OSError."""
        with self._locked():
            known = self._barred()
            barred = known | {self._digest(run) for run in runs}
            if barred != known:
                self._seal(self.folder / _BARRED, np.array(sorted(barred), np.uint64).tobytes())
            for file in self.folder.glob(f"*{_SAMPLES}"):
                samples = self._read(file, used=False)
                if samples is None:
                    file.unlink(missing_ok=True)  # damaged: nobody can tell what it holds
                    continue
                kept = self._without_barred(samples, barred)
                if kept != samples:
                    self._write(file, kept)

    def job_samples(self, settings: SampleSettings) -> list[Sample | None] | None:
        """The samples that an earlier attempt at this job began with; None: there was none."""
        cache = self._of_job()
        return None if cache is None else cache._read(cache.folder / cache._name(settings))

    def keep_for_job(self, settings: SampleSettings, samples: Sequence[Sample | None]) -> None:
        """Keeps the samples of this job as they are, for its later attempts. A full disk keeps nothing."""
        if (cache := self._of_job()) is not None:
            with suppress(OSError):
                cache.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                cache._write(cache.folder / cache._name(settings), samples)

    def of_model(self, identity: str) -> "RehearsalCache":
        """The same cache, for the samples of the model in this state."""
        return replace(self, identity=identity)

    def _of_job(self) -> "RehearsalCache | None":
        """The same cache in the job's folder, under the job's key."""
        return None if self.job is None else replace(self, folder=self.job.folder, key=self.job.key, job=None)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other processes from changing the folder, which is made where it is missing."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _barred(self) -> set[int]:
        """The digests of forgotten runs. A damaged list bars nothing it knew, so all samples go with it."""
        file = self.folder / _BARRED
        if not file.exists():
            return set()
        content = self._open(file)
        if content is None:
            for samples in self.folder.glob(f"*{_SAMPLES}"):
                samples.unlink(missing_ok=True)
            file.unlink(missing_ok=True)
            return set()
        return set(np.frombuffer(content, np.uint64).tolist())

    def _without_barred(self, samples: Sequence[Sample | None], barred: set[int]) -> list[Sample | None]:
        if not barred:
            return list(samples)
        return [
            None if sample is None or any(self._digest(run) in barred for run in runs_of(sample[1:])) else sample
            for sample in samples
        ]

    def _digest(self, run: TokenRun) -> int:
        content = np.array(run, np.int64).tobytes()
        return int.from_bytes(hashlib.blake2b(content, key=self.key, digest_size=8).digest(), "little")

    def _name(self, settings: SampleSettings) -> str:
        identity = json.dumps([self.identity, *astuple(settings)]).encode()
        return hmac.new(self.key, identity, hashlib.sha256).hexdigest() + _SAMPLES

    def _read(self, file: Path, *, used: bool = True) -> list[Sample | None] | None:
        content = self._open(file)
        if content is None:
            return None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                lengths, ids = archive["lengths"].tolist(), archive["ids"]
        except (ValueError, KeyError, EOFError, BadZipFile):
            return None
        if used:
            with suppress(OSError):  # another process may have deleted it by now
                os.utime(file)
        starts = np.cumsum([0, *(max(length, 0) for length in lengths)]).tolist()
        return [
            None if length < 0 else ids[start : start + length].tolist()
            for start, length in zip(starts, lengths, strict=False)
        ]

    def _write(self, file: Path, samples: Sequence[Sample | None]) -> None:
        ids: NDArray[np.int64] = np.array([token for sample in samples for token in sample or ()], np.int64)
        lengths = np.array([-1 if sample is None else len(sample) for sample in samples], np.int64)
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, ids=ids, lengths=lengths)
        self._seal(file, content.getvalue())

    def _seal(self, file: Path, content: bytes) -> None:
        """Writes the sealed content in one atomic step. Raises OSError."""
        nonce = secrets.token_bytes(_NONCE)
        partial = file.with_name(f".{secrets.token_hex(8)}")
        try:
            partial.touch(mode=0o600)
            partial.write_bytes(nonce + AESGCM(self.key).encrypt(nonce, content, file.name.encode()))
            os.replace(partial, file)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise

    def _open(self, file: Path) -> bytes | None:
        """The content of a sealed file; None where it is missing, or does not open with this key."""
        try:
            sealed = file.read_bytes()
            return AESGCM(self.key).decrypt(sealed[:_NONCE], sealed[_NONCE:], file.name.encode())
        except (OSError, InvalidTag, ValueError):
            return None

    def _make_room(self) -> None:
        files = [(status.st_mtime, status.st_size, file) for file, status in self._sample_files()]
        total = sum(size for _, size, _ in files)
        for _, size, file in sorted(files):
            if total <= MOST_BYTES:
                return
            file.unlink(missing_ok=True)
            total -= size

    def _sample_files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for file in self.folder.glob(f"*{_SAMPLES}"):
            with suppress(FileNotFoundError):
                yield file, file.stat()
