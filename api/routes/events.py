"""Events of a job, as a list or as a live stream, and its figures."""

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

MAX_SEQ = 2**63 - 1
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "A page of events, or the stream", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
    204: {"description": "The job is over and no event follows `Last-Event-ID`"},
}


@router.get(
    "/events",
    response_model=Page[Event],
    summary="List or stream a job's events",
    responses={**problem_responses(404), **STREAM},
)
async def list_job_events(
    job: str,
    request: Request,
    context: ContextDep,
    caller: JobsRead,
    limit: Limit = DEFAULT_LIMIT,
    after: Annotated[int | None, Query(ge=0, le=MAX_SEQ, description="the `last_id` of the previous page")] = None,
    last_event_id: Annotated[
        str | None, Header(description="the id of the last event that the client received")
    ] = None,
) -> Response:
    """Lists the events, newest first. With `Accept: text/event-stream`, streams all events from the first on and new
    ones as they happen.

    A message of the stream has the event's type as `event`, its number as `id` and its data as `data`. In between, the
    stream sends `progress` without an id. A client resumes it by `Last-Event-ID`. The stream closes after the terminal
    event. Scope: `jobs:read` or `jobs:write`.
    """
    async with context.sessions() as session:
        row = await jobs.get(session, caller.organisation, job)
        if row is None:
            raise not_found("job")
        if MEDIA_TYPE not in request.headers.get("accept", ""):
            rows = await events.latest(session, job, after, limit + 1)
            return json_response(paginate(rows, limit, serialize_event, item_id=lambda event: str(event.seq)))
    last_id = (last_event_id or "").strip()
    last_seq = int(last_id) if last_id.isascii() and last_id.isdigit() and int(last_id) <= MAX_SEQ else 0
    if row.status in TERMINAL and last_seq >= row.event_seq:
        return Response(status_code=204)  # tells a browser's EventSource not to reconnect
    request.state.held = True
    return StreamingResponse(
        stream_events(context.sessions, context.job_notifications, caller.organisation, job, after=last_seq),
        headers=HEADERS,
        media_type=MEDIA_TYPE,
    )


@router.get("/metrics", summary="Get a job's figures", responses=problem_responses(404))
async def get_job_metrics(job: str, context: ContextDep, caller: JobsRead) -> JobMetrics:
    """Returns the curves (per name: step and value), the measurements before and after (and of the retrained model,
    where the job names one) with their intervals, the verdict with every bound that led to it, and the cost.

    A dry run has only the measurements before. Scope: `jobs:read` or `jobs:write`.
    """
    async with context.sessions() as session:
        row = await jobs.get(session, caller.organisation, job)
        if row is None:
            raise not_found("job")
        points = await checkpoints.curves(session, job)
        cost = await events.newest(session, job, EventType.COST)
        rows = await checkpoints.measurements(session, job)
    curves: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        curves.setdefault(point.name, []).append((point.step, point.value))
    measurements = {measurement.moment: measurement.measurements for measurement in rows}
    return JobMetrics.model_validate(
        {
            "job": job,
            "curves": curves,
            "before": measurements.get("before"),
            "after": measurements.get("after"),
            "retrained": measurements.get("retrained"),
            "reference": measurements.get("retrained"),
            "policy": row.policy,
            "judgement": row.judgement,
            "cost": None if cost is None else cost.data,
        }
    )
