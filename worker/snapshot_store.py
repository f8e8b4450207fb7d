"""The store of a job's snapshots on this host, sealed under the job's key."""

import logging
from base64 import b64encode

from pydantic import SecretBytes

from core.records.retry import is_transient
from core.schema.job_spec import SealedFolder
from core.storage import StorageError, snapshot_keys
from core.storage.file_keys import FileKeys
from worker.lease import Lease, Sessions
from worker.log import LOGGER, error_fields
from worker.scratch import Scratch

log = logging.getLogger(LOGGER)


async def open_store(lease: Lease, scratch: Scratch, keys: FileKeys) -> SealedFolder:
    """Returns the snapshots of the lease's job, which earlier attempts may have written.

    Raises FenceLost, LeaseExpired, StorageError where the key store cannot be reached.
    """
    key = await lease.write(snapshot_keys.claim, keys=keys)
    return SealedFolder(folder=scratch.snapshots, key=SecretBytes(b64encode(key)))


async def discard_key(sessions: Sessions, job: str, keys: FileKeys) -> None:
    """Deletes the key of a job that has ended from the key store; a sweeper does it where the store is out of reach."""
    try:
        async with sessions.begin() as session:
            await snapshot_keys.discard(session, job, keys=keys)
    except Exception as error:
        if not (isinstance(error, StorageError) or is_transient(error)):
            raise
        log.warning("key of snapshots not deleted yet", extra={"job": job, **error_fields(error)})
