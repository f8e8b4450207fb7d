"""Checkpoints between the storage and this machine's disk, complete and verified by digest."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from core.records.completion import UploadedCheckpoint
from core.records.tables import CheckpointFile
from core.schema.manifest import MANIFEST_NAME, canonical_json, digest, file_entry, manifest
from core.storage import NotStored, Storage
from worker.failure import service_failure

CHUNK_BYTES = 4 << 20


async def download(storage: Storage, prefix: str, files: Sequence[CheckpointFile], folder: Path) -> None:
    """Downloads a checkpoint's files to `folder`. AttemptFailed where a file is missing or has another digest."""
    for file in files:
        target = _target(folder, file.path)
        try:
            with target.open("xb") as sink:
                async for chunk in storage.read(f"{prefix}/{file.path}"):
                    await asyncio.to_thread(sink.write, chunk)
        except NotStored:
            raise service_failure(
                "checkpoint_gone",
                "bytes of the checkpoint to start from are gone; submit a job that starts from another",
                retryable=False,
            ) from None
        if (await asyncio.to_thread(file_entry, target, file.path)).sha256 != file.sha256:
            raise service_failure("checkpoint_damaged", "the checkpoint to start from is not what was stored")


async def upload(storage: Storage, folder: Path, *, prefix: str, step: int) -> UploadedCheckpoint:
    """Stores the checkpoint that the child saved, the manifest last.

    The checkpoint stays invisible until the job's finish points to it.
    """
    entries = await asyncio.to_thread(manifest, folder)
    if not entries:
        raise service_failure("nothing_saved", "the job's process said that it saved a checkpoint, but there is none")
    for entry in entries:
        written = await storage.write(f"{prefix}/{entry.path}", _file_chunks(folder / entry.path))
        if written != entry.bytes:
            raise service_failure("checkpoint_changed", "the checkpoint changed while it was stored")
    await storage.write(f"{prefix}/{MANIFEST_NAME}", _single_chunk(canonical_json(entries)))
    return UploadedCheckpoint(prefix=prefix, files=entries, digest=digest(entries), step=step)


def _target(folder: Path, path: str) -> Path:
    """Returns the file's place below the folder, whose own folder exists then. AttemptFailed for a path outside."""
    target = folder / path
    if ".." in target.parts:
        raise service_failure("checkpoint_damaged", "a file of the checkpoint lies outside of it", retryable=False)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return target


async def _file_chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


async def _single_chunk(data: bytes) -> AsyncIterator[bytes]:
    yield data
