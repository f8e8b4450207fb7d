"""Deletes bytes that nothing refers to: of ended attempts, of interrupted uploads, of expired files."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from core.records import completion, files, lease_recovery, sample_keys
from core.schema.ids import ID_PATTERN, id_timestamp
from core.storage import Storage, snapshot_keys, uploads
from core.storage.file_keys import FileKeys
from worker import scratch, snapshot_store
from worker.lease import Sessions

T = TypeVar("T")
Attempt = tuple[str, int]
"""A job's id and the fence of one attempt at it."""

_UNFINISHED_AGE = timedelta(hours=1)
_ROWLESS_AGE = timedelta(days=1)  # longer than any upload takes, from its id to its row
_BATCH = 500
_CHECKPOINT = re.compile(r"checkpoints/(job-[0-9a-f]+)/(\d+)/")


async def collect_scratch(sessions: Sessions, root: Path) -> int:
    """Removes the folders of all ended attempts from this machine, delivered or not; returns their number.

    A worker that dies between the finish and its own clean-up leaves the folder of a delivered attempt.
    """
    listed = await asyncio.to_thread(lambda: list(scratch.attempt_folders(root)))
    folders = {(job, fence): folder for job, fence, folder in listed}
    removed = 0
    async for attempt in _select_attempts(sessions, folders, completion.ended_attempts):
        await asyncio.to_thread(scratch.remove_folder, folders[attempt])
        removed += 1
    return removed


async def collect_snapshots(sessions: Sessions, root: Path, keys: FileKeys) -> int:
    """Removes snapshots of ended jobs from this machine, and their keys; returns the number of jobs.

    A job may end on another machine, or while it is paused. A job that is retried meanwhile keeps both. Raises
    StorageError, with all snapshots removed, where the key store cannot be reached: `collect_snapshot_keys` deletes the
    keys later.
    """
    folders = dict(await asyncio.to_thread(lambda: list(scratch.snapshot_folders(root))))
    removed: list[str] = []
    for jobs in _batches(folders):
        async with sessions() as session:
            ended = await completion.ended_jobs(session, jobs)
        removed += [job for job in ended if await snapshot_store.remove_ended(sessions, job, folders[job])]
    await _discard_keys(sessions, removed, keys)
    return len(removed)


async def collect_snapshot_keys(sessions: Sessions, keys: FileKeys) -> int:
    """Deletes the keys of ended jobs' snapshots, on whatever machine these are; returns their number."""
    removed = 0
    for jobs in _batches([job async for job in snapshot_keys.stored(keys)]):
        async with sessions() as session:
            ended = await completion.ended_jobs(session, jobs)
        removed += await _discard_keys(sessions, ended, keys)
    return removed


async def collect_samples(sessions: Sessions, root: Path) -> int:
    """Removes rehearsal samples from this machine whose key is destroyed; returns the number of folders."""
    folders = dict(await asyncio.to_thread(lambda: list(scratch.sample_folders(root))))
    removed = 0
    for ids in _batches(folders):
        async with sessions() as session:
            existing = await sample_keys.existing_ids(session, ids)
        for id in set(ids) - existing:
            await asyncio.to_thread(scratch.remove_folder, folders[id])
            removed += 1
    return removed


async def collect_checkpoints(sessions: Sessions, storage: Storage) -> int:
    """Deletes checkpoints under dead fences, and the remains of interrupted uploads; returns their number."""
    stored = set()
    async for key, _ in storage.list("checkpoints"):
        if match := _CHECKPOINT.match(key):
            stored.add((match[1], int(match[2])))
    removed = await storage.delete_unfinished(_UNFINISHED_AGE)
    async for job, fence in _select_attempts(sessions, sorted(stored), completion.undelivered_attempts):
        await storage.delete(completion.checkpoint_prefix(job, fence))
        removed += 1
    return removed


async def collect_files(sessions: Sessions, storage: Storage, keys: FileKeys) -> int:
    """Deletes expired files that no unfinished job needs; returns their number.

    The rows go first, then the keys, then the bytes.
    """
    async with sessions.begin() as session:
        if not await lease_recovery.try_sweeper_lock(session):
            return 0
        purged = await files.purge_expired(session, blind=keys.blind)
    for file in purged:
        await uploads.destroy_upload(storage, file, keys)
    return len(purged)


async def collect_uploads(sessions: Sessions, storage: Storage, keys: FileKeys) -> int:
    """Deletes bytes and keys of files without a row; returns the number of files.

    A process that died has left them: during the upload, or after the file's row was deleted.
    """
    before = datetime.now(UTC) - _ROWLESS_AGE
    stored = [key.removeprefix("files/") async for key, _ in storage.list("files")]
    old = {file for file in stored if ID_PATTERN.match(file) and id_timestamp(file) < before}
    old |= {file async for file in keys.kept_before(before)}
    removed = 0
    for batch in _batches(sorted(old)):
        async with sessions() as session:
            existing = await files.existing_ids(session, batch)
        for file in set(batch) - existing:
            await uploads.destroy_upload(storage, file, keys)
            removed += 1
    return removed


async def _discard_keys(sessions: Sessions, jobs: Iterable[str], keys: FileKeys) -> int:
    """Deletes the keys of those jobs that still have ended; returns their number."""
    removed = 0
    for job in jobs:
        async with sessions.begin() as session:
            removed += await snapshot_keys.discard(session, job, keys=keys)
    return removed


async def _select_attempts(
    sessions: Sessions,
    attempts: Iterable[Attempt],
    select: Callable[[AsyncSession, list[Attempt]], Awaitable[set[Attempt]]],
) -> AsyncIterator[Attempt]:
    """Yields the attempts that `select` returns, which is called with batches of them."""
    for batch in _batches(attempts):
        async with sessions() as session:
            selected = await select(session, batch)
        for attempt in selected:
            yield attempt


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, _BATCH)):
        yield batch
