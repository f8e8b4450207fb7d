"""Extensions of a job's deadline. The job keeps each with its reason; the audit log keeps it unchangeable."""

from datetime import UTC, date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import audit, events
from core.records.clock import now
from core.records.tables import JobRow
from core.schema.deadlines import DeadlineExtension, latest_due
from core.schema.errors import DomainError, Identifier
from core.schema.event_types import EventType
from core.schema.jobs import UNFULFILLED


class NothingToExtend(DomainError):
    """The job has no deadline, or none that still counts."""

    status, problem = 409, "wrong-state"

    def __init__(self, state: Identifier) -> None:
        self.detail = f"the job {state}: there is no deadline to extend"
        super().__init__()


class DeadlinePassed(DomainError):
    """The deadline has passed. An extension after it would hide that it was missed."""

    status, problem = 409, "deadline-passed"

    def __init__(self, due: date) -> None:
        self.detail = f"the job was due on {due}: a deadline can be extended until its day is over"
        super().__init__()


class InvalidExtension(DomainError):
    """The new deadline is not later than the present one, or later than allowed."""

    status, problem, pointer = 422, "invalid-extension", "/due"

    def __init__(self, due: date, latest: date) -> None:
        self.detail = f"the job is due on {due} and can be extended to {latest} at the latest"
        super().__init__()


async def extend(
    session: AsyncSession, organisation: str, job: str, *, due: date | None, reason: str, key: str
) -> JobRow | None:
    """Moves the job's deadline to `due`, or as far as it can be moved. None: no such job.

    NothingToExtend; DeadlinePassed; InvalidExtension.
    """
    query = select(JobRow).where(JobRow.organisation == organisation, JobRow.id == job).with_for_update()
    row = await session.scalar(query)
    if row is None:
        return None
    if row.status not in UNFULFILLED:
        raise NothingToExtend(f"has {row.status}" if row.status == "succeeded" else f"is {row.status}")
    if row.due is None:
        raise NothingToExtend("has no deadline")
    at = await now(session)
    if row.due < at.astimezone(UTC).date():
        raise DeadlinePassed(row.due)
    first = date.fromisoformat(row.extensions[0]["previous_due"]) if row.extensions else row.due
    latest = latest_due(first)
    due = latest if due is None else due
    if not row.due < due <= latest:
        raise InvalidExtension(row.due, latest)
    extension = DeadlineExtension(previous_due=row.due, due=due, reason=reason, extended_by=key, extended_at=at)
    row.extensions = [*row.extensions, extension.model_dump(mode="json")]
    days = {"previous_due": row.due.isoformat(), "due": due.isoformat()}
    row.due = due
    await events.append(session, row, EventType.EXTENDED, {**days})
    await audit.append(session, organisation, key, "job.extended", row.id, {**days, "reason": reason})
    await session.flush()
    await session.refresh(row)
    return row
