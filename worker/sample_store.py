"""The store of a model's rehearsal samples on this host, and its key."""

import asyncio
from base64 import b64encode
from pathlib import Path

from pydantic import SecretBytes

from core.records import sample_keys
from core.records.tables import JobRow
from core.schema.ids import new_id
from core.schema.job_spec import SealedFolder
from core.storage.sealed import SealBroken, new_data_key, unwrap, wrap
from worker.lease import Lease
from worker.scratch import samples_folder


async def open_store(lease: Lease, job: JobRow, root: Path, service_key: bytes) -> SealedFolder:
    """Returns the store of the job's model on this host, whose samples earlier jobs may have written.

    The model's samples on other hosts become unreadable: the job drops from this host's samples alone what repeats the
    text that it is to forget. Raises FenceLost, LeaseExpired.
    """
    organisation = samples_folder(root, job.organisation)
    held = await asyncio.to_thread(
        lambda: [folder.name for folder in organisation.iterdir()] if organisation.is_dir() else []
    )
    while True:
        id, new_key = new_id("samples"), new_data_key()
        wrapped = wrap(new_key, service_key, id.encode())
        row = await lease.write(sample_keys.claim, held=held, id=id, wrapped_key=wrapped)
        try:
            key = unwrap(row.wrapped_key, service_key, row.id.encode())
        except SealBroken:  # the service has another key now: nobody can read these samples
            held = [name for name in held if name != row.id]
            continue
        return SealedFolder(folder=organisation / row.id, key=SecretBytes(b64encode(key)))
