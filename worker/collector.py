"""Bytes that are nobody's any more: of attempts that are over, of uploads that broke off, of files past their time."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from core.records import completion, files, lease_recovery
from core.schema.ids import ID_PATTERN, id_timestamp
from core.storage import Storage, uploads
from worker import scratch
from worker.lease import Sessions

T = TypeVar("T")
Attempt = tuple[str, int]
"""A job's id and the fence of one attempt at it."""

_BROKEN_OFF = timedelta(hours=1)
_NO_ROW = timedelta(days=1)  # longer than any upload takes, from its id to its row
_BATCH = 500
_CHECKPOINT = re.compile(r"checkpoints/(job-[0-9a-f]+)/(\d+)/")


async def collect_scratch(sessions: Sessions, root: Path) -> int:
    """Removes the folders of all attempts that are over from this machine, delivered or not.

    A worker that dies between the finish and its own clean-up leaves the folder of a delivered attempt.
    """
    listed = await asyncio.to_thread(lambda: list(scratch.attempt_folders(root)))
    found = {(job, fence): folder for job, fence, folder in listed}
    removed = 0
    async for over in _attempts(sessions, found, completion.ended_attempts):
        await asyncio.to_thread(scratch.remove_folder, found[over])
        removed += 1
    return removed


async def collect_snapshots(sessions: Sessions, root: Path) -> int:
    """Removes snapshots of jobs that are over from this machine: they may have ended elsewhere, or while paused."""
    found = dict(await asyncio.to_thread(lambda: list(scratch.snapshot_folders(root))))
    removed = 0
    for some in _batches(found):
        async with sessions() as session:
            over = await completion.ended_jobs(session, some)
        for job in over:
            await asyncio.to_thread(scratch.remove_folder, found[job])
            removed += 1
    return removed


async def collect_checkpoints(sessions: Sessions, storage: Storage) -> int:
    """Deletes what was stored under dead fences, and what is left of uploads that broke off."""
    stored = set()
    async for key, _ in storage.list("checkpoints"):
        if match := _CHECKPOINT.match(key):
            stored.add((match[1], int(match[2])))
    removed = await storage.delete_unfinished(_BROKEN_OFF)
    async for job, fence in _attempts(sessions, sorted(stored), completion.undelivered_attempts):
        await storage.delete(completion.checkpoint_prefix(job, fence))
        removed += 1
    return removed


async def collect_files(sessions: Sessions, storage: Storage) -> int:
    """Deletes files past their time that no unfinished job needs: first the rows with their keys, then the bytes."""
    async with sessions.begin() as session:
        if not await lease_recovery.try_sweeper_lock(session):
            return 0
        keys = await files.purge_expired(session)
    for key in keys:
        await storage.delete(key)
    return len(keys)


async def collect_uploads(sessions: Sessions, storage: Storage) -> int:
    """Deletes uploads that never got their row, because the API died in between: nobody has their key."""
    before = datetime.now(UTC) - _NO_ROW
    stored = [key.removeprefix("files/") async for key, _ in storage.list("files")]
    old = [file for file in stored if ID_PATTERN.match(file) and id_timestamp(file) < before]
    removed = 0
    for some in _batches(old):
        async with sessions() as session:
            known = await files.existing_ids(session, some)
        for file in set(some) - known:
            await storage.delete(uploads.storage_key(file))
            removed += 1
    return removed


async def _attempts(
    sessions: Sessions,
    attempts: Iterable[Attempt],
    select: Callable[[AsyncSession, list[Attempt]], Awaitable[set[Attempt]]],
) -> AsyncIterator[Attempt]:
    """Those of the attempts that `select` returns, asked for in batches."""
    for batch in _batches(attempts):
        async with sessions() as session:
            selected = await select(session, batch)
        for attempt in selected:
            yield attempt


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while some := list(islice(source, _BATCH)):
        yield some
