"""A job's events, live, as server-sent events (WHATWG HTML, section 9.2)."""

import json
from collections.abc import AsyncIterator

import structlog
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy.exc import SQLAlchemyError

from api.dependencies import Context
from api.http import views
from core.records import events, jobs
from core.records.tables import EventRow
from core.schema.jobs import TERMINAL

log = structlog.get_logger()

PING_SECONDS = 15.0
BATCH = 500
MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def shown(row: EventRow) -> bytes:
    """A stored event: `event` is its type, `id` its seq, `data` its data and when it was."""
    data = {**row.data, "created_at": row.created_at.isoformat()}
    return format_sse_event(event=row.type, id=str(row.seq), data_str=json.dumps(data, ensure_ascii=False))


async def live(context: Context, organisation: str, job: str, *, after: int) -> AsyncIterator[bytes]:
    """Events after `after`, then those that come, until the terminal one; between them `progress`, which has no id.

    A database connection is held while reading, never while waiting. Where the database is lost the stream ends, and
    the client goes on by `Last-Event-ID`: an error now would come after the answer's head.
    """
    told: tuple[int | None, float | None] = None, None
    async with context.job_notifications.watch(job) as watch:
        while True:
            try:
                async with context.sessions() as session:
                    row = await jobs.get(session, organisation, job)
                    stored = await events.after(session, job, after, BATCH)
            except (SQLAlchemyError, OSError) as error:
                log.warning("stream_ended", job=job, error=type(error).__name__)
                return
            if row is None:
                return
            for event in stored:
                after = event.seq
                yield shown(event)
            if row.status not in TERMINAL and (row.step, row.fraction) != told:
                told = row.step, row.fraction
                progress = views.progress(row)
                yield format_sse_event(event="progress", data_str=progress.model_dump_json() if progress else "{}")
            if len(stored) == BATCH:
                continue
            if row.status in TERMINAL and after >= row.event_seq:
                return
            if not await watch.changed(PING_SECONDS):
                yield KEEPALIVE_COMMENT
