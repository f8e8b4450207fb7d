"""A job's events, live, as server-sent events (WHATWG HTML, section 9.2)."""

import json
from collections.abc import AsyncIterator

import structlog
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from api.http.serializers import serialize_progress
from core.records import events, jobs
from core.records.notifications import Notifications
from core.records.tables import EventRow
from core.schema.event_types import PROGRESS_MESSAGE
from core.schema.jobs import TERMINAL

log = structlog.get_logger()

PING_SECONDS = 15.0
BATCH = 500
MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def format_event(row: EventRow) -> bytes:
    """Returns a stored event as a message: `event` is its type, `id` its seq, `data` its data and its time."""
    data = {**row.data, "created_at": row.created_at.isoformat()}
    return format_sse_event(event=row.type, id=str(row.seq), data_str=json.dumps(data, ensure_ascii=False))


async def stream_events(
    sessions: async_sessionmaker[AsyncSession], notifications: Notifications, organisation: str, job: str, *, after: int
) -> AsyncIterator[bytes]:
    """Yields the events after number `after`, then new ones, up to the terminal event; between them `progress`, which
    has no id.

    Holds a database connection while it reads, never while it waits. The stream ends where the database is lost: an
    error would come too late, after the answer's head. The client resumes by `Last-Event-ID`.
    """
    sent_progress: tuple[int | None, float | None] = None, None
    async with notifications.watch(job) as watch:
        while True:
            try:
                async with sessions() as session:
                    row = await jobs.get(session, organisation, job)
                    new_events = await events.after(session, job, after, BATCH)
            except (SQLAlchemyError, OSError) as error:
                log.warning("stream_ended", job=job, error=type(error).__name__)
                return
            if row is None:
                return
            for event in new_events:
                after = event.seq
                yield format_event(event)
            if row.status not in TERMINAL and (row.step, row.fraction) != sent_progress:
                sent_progress = row.step, row.fraction
                progress = serialize_progress(row)
                yield format_sse_event(
                    event=PROGRESS_MESSAGE, data_str=progress.model_dump_json() if progress else "{}"
                )
            if len(new_events) == BATCH:
                continue
            if row.status in TERMINAL and after >= row.event_seq:
                return
            if not await watch.changed(PING_SECONDS):
                yield KEEPALIVE_COMMENT
