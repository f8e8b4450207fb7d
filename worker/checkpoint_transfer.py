"""Checkpoints between the storage and this machine's disk, whole and checked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from core.records.completion import UploadedCheckpoint
from core.records.tables import CheckpointFile
from core.schema.manifest import MANIFEST_NAME, canonical_json, digest, file_entry, manifest
from core.storage import NotStored, Storage
from worker.failure import service_failure

PIECE = 4 << 20


async def fetch(storage: Storage, prefix: str, files: Sequence[CheckpointFile], folder: Path) -> None:
    """Brings a checkpoint's files to `folder`. AttemptFailed where one is missing or not what its digest says."""
    for file in files:
        target = _below(folder, file.path)
        try:
            with target.open("xb") as out:
                async for piece in storage.read(f"{prefix}/{file.path}"):
                    await asyncio.to_thread(out.write, piece)
        except NotStored:
            raise service_failure(
                "checkpoint_gone", "bytes of the checkpoint to start from are gone", retryable=False
            ) from None
        if (await asyncio.to_thread(file_entry, target, file.path)).sha256 != file.sha256:
            raise service_failure("checkpoint_damaged", "the checkpoint to start from is not what was stored")


async def deliver(storage: Storage, folder: Path, *, prefix: str, step: int) -> UploadedCheckpoint:
    """Stores what the child saved, the manifest last; nobody sees it before the job's finish points to it."""
    entries = await asyncio.to_thread(manifest, folder)
    if not entries:
        raise service_failure("nothing_saved", "the job's process said that it saved a checkpoint, but there is none")
    for one in entries:
        written = await storage.write(f"{prefix}/{one.path}", _pieces(folder / one.path))
        if written != one.bytes:
            raise service_failure("checkpoint_changed", "the checkpoint changed while it was stored")
    await storage.write(f"{prefix}/{MANIFEST_NAME}", _whole(canonical_json(entries)))
    return UploadedCheckpoint(prefix=prefix, files=entries, digest=digest(entries), step=step)


def _below(folder: Path, path: str) -> Path:
    target = folder / path
    if ".." in target.parts:
        raise service_failure("checkpoint_damaged", "a file of the checkpoint lies outside of it", retryable=False)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return target


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data
