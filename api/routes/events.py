"""What happened to a job: as a list, or live; and its figures."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from api.dependencies import ContextDep, JobsRead
from api.http.pagination import DEFAULT_LIMIT, Limit, paginate
from api.http.problems import not_found, problem_responses
from api.http.serializers import json_response, serialize_event
from api.http.sse import HEADERS, MEDIA_TYPE, stream_events
from core.records import checkpoints, events, jobs
from core.schema.checkpoints import JobMetrics
from core.schema.event_types import EventType
from core.schema.events import Event
from core.schema.jobs import TERMINAL
from core.schema.pages import Page

router = APIRouter(prefix="/v1/jobs/{job}", tags=["jobs"])

LARGEST = 2**63 - 1
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "A page of events, or the stream", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
    204: {"description": "Nothing can follow `Last-Event-ID`: the job is over"},
}


@router.get(
    "/events",
    response_model=Page[Event],
    summary="What happened to the job",
    responses={**problem_responses(404), **STREAM},
)
async def list_job_events(
    job: str,
    request: Request,
    context: ContextDep,
    caller: JobsRead,
    limit: Limit = DEFAULT_LIMIT,
    after: Annotated[int | None, Query(ge=0, le=LARGEST, description="the `last_id` of the page before")] = None,
    last_event_id: Annotated[str | None, Header(description="the id of the last event that was received")] = None,
) -> Response:
    """The list, newest first; with `Accept: text/event-stream` every event from the first on, and those to come.

    A stream's messages have the event's type as `event`, its number as `id` and its data as `data`; between them
    `progress` without an id. It is resumed by `Last-Event-ID` and closed after the terminal event.
    Scope: `jobs:read` or `jobs:write`.
    """
    async with context.sessions() as session:
        row = await jobs.get(session, caller.organisation, job)
        if row is None:
            raise not_found("job")
        if MEDIA_TYPE not in request.headers.get("accept", ""):
            rows = await events.latest(session, job, after, limit + 1)
            return json_response(paginate(rows, limit, serialize_event, item_id=lambda event: str(event.seq)))
    given = (last_event_id or "").strip()
    last = int(given) if given.isascii() and given.isdigit() and int(given) <= LARGEST else 0
    if row.status in TERMINAL and last >= row.event_seq:
        return Response(status_code=204)  # tells a browser's EventSource not to come back
    request.state.held = True
    return StreamingResponse(
        stream_events(context.sessions, context.job_notifications, caller.organisation, job, after=last),
        headers=HEADERS,
        media_type=MEDIA_TYPE,
    )


@router.get("/metrics", summary="The job's figures", responses=problem_responses(404))
async def get_job_metrics(job: str, context: ContextDep, caller: JobsRead) -> JobMetrics:
    """Curves (per name: step and value), the measurements before and after (and of the retrained model, where the job
    names one) with their intervals, the verdict with every bound that led to it, and what the job took. A dry run has
    those before alone.

    Scope: `jobs:read` or `jobs:write`.
    """
    async with context.sessions() as session:
        row = await jobs.get(session, caller.organisation, job)
        if row is None:
            raise not_found("job")
        points = await checkpoints.curves(session, job)
        cost = await events.newest(session, job, EventType.COST)
        measured = {one.moment: one.measurements for one in await checkpoints.measurements(session, job)}
    curves: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        curves.setdefault(point.name, []).append((point.step, point.value))
    moments = {moment: measured.get(moment) for moment in ("before", "after", "retrained")}
    told = {"policy": row.policy, "judgement": row.judgement, "cost": None if cost is None else cost.data}
    return JobMetrics.model_validate(
        {"job": job, "curves": curves, **moments, "reference": moments["retrained"], **told}
    )
