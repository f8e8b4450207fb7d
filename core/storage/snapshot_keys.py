"""Keys of jobs' snapshots, one for each job that has not ended: without its key nobody reads what workers left behind.

A key is kept as those of uploaded files are: in the key store, or wrapped in the job's row. The transaction that ends
the job empties the row (`core.records.job_status`). The key store's copy is deleted after it (`discard`): by the worker
that ends the job, else by a sweeper.
"""

from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession

from core.records import completion
from core.records.leases import lock_job
from core.storage.file_keys import FileKeys, KeyDestroyed
from core.storage.sealed import SealBroken, new_data_key


async def claim(session: AsyncSession, job: str, fence: int, *, keys: FileKeys) -> bytes:
    """Returns the job's key, the same in each attempt; a new one where there is none that the service's key unwraps.

    Raises FenceLost: the job's row is locked meanwhile, so that a late worker replaces no key.
    """
    row = await lock_job(session, job, fence)
    try:
        return await keys.data_key(job, row.snapshot_key)
    except (KeyDestroyed, SealBroken):
        key = new_data_key()
        row.snapshot_key = await keys.keep(job, key)
        return key


async def discard(session: AsyncSession, job: str, *, keys: FileKeys) -> bool:
    """Deletes the key of a job that has ended from the key store. False: the job has not ended, and keeps its key.

    The job's row is locked meanwhile: a failed job may be retried, and its next attempt must not claim a key that is
    deleted a moment later.
    """
    if not await completion.lock_ended(session, job):
        return False
    await keys.discard(job)
    return True


async def stored(keys: FileKeys) -> AsyncIterator[str]:
    """Yields the jobs that have a key in the key store."""
    if keys.store is not None:
        async for id in keys.store.ids():
            if id.startswith("job-"):
                yield id
