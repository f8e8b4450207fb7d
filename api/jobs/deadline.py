"""The deadline of a submitted job, from the time when its request came in."""

from datetime import UTC, date, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from api.http.problems import unprocessable
from core.records.clock import now
from core.schema.deadlines import default_due
from core.schema.jobs import JobRequest


async def find_deadline(session: AsyncSession, request: JobRequest) -> tuple[datetime, date | None]:
    """Returns when the request came in, and the last day on which its job may be done; a dry run has none by default.

    Problem (422): the request came in the future, or its deadline lies before it came in.
    """
    present = await now(session)
    received_at = request.received_at or present
    if received_at > present:
        raise unprocessable("/received_at", "this time lies in the future", name="received-in-the-future")
    if request.due is None:
        return received_at, None if request.dry_run else default_due(received_at)
    receipt = received_at.astimezone(UTC).date()
    if request.due < receipt:
        detail = f"the request came in on {receipt}: if it came in earlier, say when in 'received_at'"
        raise unprocessable("/due", detail, name="due-before-receipt")
    return received_at, request.due
