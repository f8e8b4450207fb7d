"""The store of a job's snapshots on this host, sealed under the job's key."""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import SecretBytes
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import completion
from core.records.retry import is_transient
from core.schema.job_spec import SealedFolder
from core.storage import StorageError, snapshot_keys
from core.storage.file_keys import FileKeys
from worker.lease import Lease, Sessions
from worker.log import LOGGER, error_fields
from worker.scratch import Scratch, remove_folder

log = logging.getLogger(LOGGER)


async def open_store(lease: Lease, scratch: Scratch, keys: FileKeys) -> SealedFolder:
    """Returns the snapshots of the lease's job, which earlier attempts may have written.

    Raises FenceLost, LeaseExpired, StorageError where the key store cannot be reached.
    """
    key = await lease.write(snapshot_keys.claim, keys=keys)
    return SealedFolder(folder=scratch.snapshots, key=SecretBytes(b64encode(key)))


async def remove_ended(sessions: Sessions, job: str, folder: Path) -> bool:
    """Removes the snapshots of a job that has ended. False: it has not, or was retried; its snapshots stay.

    The job's row is locked meanwhile: a failed job may be retried, and the snapshots of its next attempt must stay.
    """
    return await _remove(sessions, job, folder, lock=completion.lock_ended)


async def discard(sessions: Sessions, job: str, folder: Path, keys: FileKeys) -> None:
    """Removes snapshots and key of a job that has ended; a sweeper does it where database or key store cannot be
    reached."""
    try:
        if await remove_ended(sessions, job, folder):
            async with sessions.begin() as session:
                await snapshot_keys.discard(session, job, keys=keys)
    except Exception as error:
        if not _passes(error):
            raise
        _warn(error, job)


async def drop_unused(sessions: Sessions, job: str, folder: Path) -> None:
    """Removes the snapshots of a run that does not go on, unless a worker has claimed its leading job again."""
    try:
        await _remove(sessions, job, folder, lock=completion.lock_unclaimed)
    except Exception as error:
        if not _passes(error):
            raise
        _warn(error, job)


async def _remove(
    sessions: Sessions, job: str, folder: Path, *, lock: Callable[[AsyncSession, str], Awaitable[bool]]
) -> bool:
    async with sessions.begin() as session:
        if not await lock(session, job):
            return False
        await asyncio.shield(asyncio.to_thread(remove_folder, folder))
    return True


def _passes(error: Exception) -> bool:
    return isinstance(error, StorageError) or is_transient(error)


def _warn(error: Exception, job: str) -> None:
    log.warning("snapshots or their key not deleted yet", extra={"job": job, **error_fields(error)})
