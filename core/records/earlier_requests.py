"""The requests that made a checkpoint: each job of its lineage, and the text that the job had to forget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import forgotten_records
from core.records.lineage import ancestor_places
from core.records.tables import CheckpointRow, FileRow, JobFile, JobRow, MeasurementRow
from core.schema.previously_forgotten import EarlierRequest, KeptFigures


@dataclass(frozen=True)
class StoredRequest:
    """An earlier request, and the file with its text; None: the file was deleted."""

    request: EarlierRequest
    file: FileRow | None
    digests: bytes | None = None
    """Keyed digests of its records; None: none were kept, or under another service key."""


async def made(session: AsyncSession, organisation: str, checkpoint: str, *, key_check: bytes) -> list[StoredRequest]:
    """The requests of all jobs that made the checkpoint and those that it came from, the newest first.

    `key_check` tells the service key in use (core.storage.record_digests): digests under another are left out.
    """
    places = ancestor_places(organisation, checkpoint)
    query = (
        select(
            JobRow.id, JobRow.data, MeasurementRow.kept, MeasurementRow.measurements["previously_forgotten"], FileRow
        )
        .join(CheckpointRow, CheckpointRow.job == JobRow.id)
        .join(places, places.c.prefix == CheckpointRow.prefix)
        .outerjoin(MeasurementRow, (MeasurementRow.job == JobRow.id) & (MeasurementRow.moment == "after"))
        .outerjoin(JobFile, (JobFile.job == JobRow.id) & (JobFile.name == "forget"))
        .outerjoin(FileRow, FileRow.id == JobFile.file)
        .order_by(JobRow.id.desc())
    )
    rows = (await session.execute(query)).all()
    digests = await forgotten_records.of_jobs(session, [job for job, *_ in rows], key_check=key_check)
    last_measured = _last_measured([(job, entries or []) for job, _, _, entries, _ in rows])
    return [
        StoredRequest(
            EarlierRequest(
                job=job,
                **_forget_set(data),
                last_measured=last_measured.get(job, job if (kept or {}).get("records") else None),
                kept=None if kept is None else KeptFigures.model_validate(kept),
                digests_kept=job in digests,
            ),
            file,
            digests.get(job),
        )
        for job, data, kept, _, file in rows
    ]


def _forget_set(data: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The number of records of the forget set, and the digest of its deleted file."""
    used = next((used for used in data if used["name"] == "forget"), {"records": 0})
    return {"records": used["records"], "hmac_sha256": used.get("hmac_sha256")}


def _last_measured(jobs: Sequence[tuple[str, list[dict[str, Any]]]]) -> dict[str, str]:
    """The newest job that measured the text of each earlier job. `jobs` come the newest first."""
    newest: dict[str, str] = {}
    for job, entries in jobs:
        for entry in entries:
            if entry["measured"]:
                newest.setdefault(entry["job"], job)
    return newest
