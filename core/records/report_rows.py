"""The rows that a job's report is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import checkpoints, jobs, shared_runs
from core.records.tables import (
    ApiKey,
    AuditRow,
    CheckpointFile,
    CheckpointRow,
    EventRow,
    FileRow,
    JobFile,
    JobRow,
    MeasurementRow,
    ModelRow,
    Organisation,
)
from core.schema.event_types import EventType

ATTEMPT_EVENTS = (
    *(EventType.STARTED, EventType.ENVIRONMENT, EventType.SAVED, EventType.COST, EventType.PAUSED),
    *(EventType.REQUEUED, EventType.SUCCEEDED, EventType.FAILED, EventType.CANCELLED),
)


DOWNLOADED = ".downloaded"
"""The ending of an audit entry's action that is a download."""


@dataclass(frozen=True)
class ReportRows:
    """All rows about one job, read in one transaction."""

    job: JobRow
    organisation: Organisation
    model: ModelRow | None
    """The registration that the job was made for; None: it was deleted."""
    forget_files: dict[str, FileRow | None]
    """The uploaded files with text to forget, by id; None: the file was deleted."""
    measurements: Sequence[MeasurementRow]
    checkpoint: CheckpointRow | None
    checkpoint_files: Sequence[CheckpointFile]
    events: Sequence[EventRow]
    """The events that begin or end attempts, and those that tell how an attempt ran, oldest first."""
    audit: Sequence[AuditRow]
    """The audit entries of the job, its checkpoint and its files with text to forget, oldest first, but for downloads:
    they change nothing, and each would change the report."""
    shared_run: Sequence[JobRow]
    """The other jobs of the run that made the checkpoint."""
    keys: dict[str, ApiKey]
    """The keys that the rows name, by id."""


async def read(session: AsyncSession, organisation: str, job: str) -> ReportRows | None:
    """Reads the rows of a job's report. None: there is no such job."""
    row = await jobs.get(session, organisation, job)
    if row is None:
        return None
    made = None if row.checkpoint is None else await checkpoints.get(session, organisation, row.checkpoint)
    forget_files = await _forget_files(session, job)
    audit = await _audit(session, organisation, [job, *filter(None, [row.checkpoint]), *forget_files])
    key_ids = {row.submitter, *(entry.key for entry in audit), *([made.released_by] if made else [])}
    key_ids |= {extension["extended_by"] for extension in row.extensions}
    events = select(EventRow).where(EventRow.job == job, EventRow.type.in_(ATTEMPT_EVENTS)).order_by(EventRow.seq)
    keys = await session.scalars(select(ApiKey).where(ApiKey.id.in_(filter(None, key_ids))))
    return ReportRows(
        job=row,
        organisation=(await session.scalars(select(Organisation).where(Organisation.id == organisation))).one(),
        model=await _model(session, row),
        forget_files=forget_files,
        measurements=await checkpoints.measurements(session, job),
        checkpoint=made,
        checkpoint_files=[] if made is None else await checkpoints.files(session, made.id),
        events=(await session.scalars(events)).all(),
        audit=audit,
        shared_run=await shared_runs.others(session, row),
        keys={key.id: key for key in keys},
    )


async def _model(session: AsyncSession, job: JobRow) -> ModelRow | None:
    """The registration that the job was made for; None where it was deleted, even if its id was taken since."""
    query = select(ModelRow).where(ModelRow.organisation == job.organisation, ModelRow.id == job.model)
    return await session.scalar(query.where(ModelRow.created_at <= job.created_at))


async def _forget_files(session: AsyncSession, job: str) -> dict[str, FileRow | None]:
    uses = select(JobFile.file, FileRow).outerjoin(FileRow, FileRow.id == JobFile.file)
    query = uses.where(JobFile.job == job, JobFile.name == "forget").order_by(JobFile.position)
    return {id: file for id, file in (await session.execute(query)).all()}


async def _audit(session: AsyncSession, organisation: str, objects: Sequence[str]) -> Sequence[AuditRow]:
    query = select(AuditRow).where(AuditRow.organisation == organisation, AuditRow.object.in_(objects))
    changes = query.where(~AuditRow.action.endswith(DOWNLOADED, autoescape=True))
    return (await session.scalars(changes.order_by(AuditRow.seq))).all()
