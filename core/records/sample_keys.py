"""Keys of the rehearsal samples that workers keep, one for each registered model and host.

Samples are text of a model that may have memorised personal data. A job drops from its own host's samples what repeats
the text that it is to forget, and destroys the keys of all other hosts' samples of the model. Where a job fails or is
cancelled, its own host's key goes, too (`job_status`): nobody can tell what the samples repeat. The keys of a model go
with its registration.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.leases import lock_job
from core.records.tables import SampleKeyRow


async def claim(
    session: AsyncSession, job: str, fence: int, *, held: Collection[str], id: str, wrapped_key: bytes
) -> SampleKeyRow:
    """Returns the key of the job's model that this host holds samples under, else a new one of this `id`.

    `held` are the ids of the keys whose samples this host has. All other keys of the model are deleted. A second call
    with the same `id` returns the same key.
    """
    row = await lock_job(session, job, fence)
    of_model = (SampleKeyRow.organisation == row.organisation, SampleKeyRow.model == row.model)
    query = select(SampleKeyRow).where(*of_model, SampleKeyRow.id.in_([*held, id])).order_by(SampleKeyRow.id.desc())
    key = (await session.scalars(query.limit(1))).first()
    if key is None:
        key = SampleKeyRow(id=id, organisation=row.organisation, model=row.model, wrapped_key=wrapped_key)
        session.add(key)
        await session.flush()
    await session.execute(delete(SampleKeyRow).where(*of_model, SampleKeyRow.id != key.id))
    return key


async def existing_ids(session: AsyncSession, ids: Sequence[str]) -> set[str]:
    """Returns those of the ids that have a row, in any organisation."""
    return set((await session.scalars(select(SampleKeyRow.id).where(SampleKeyRow.id.in_(ids)))).all())
