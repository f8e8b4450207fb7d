"""Jobs: submit, list, follow, and the actions cancel, pause, resume and retry."""

import asyncio
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from api.auth import Caller
from api.dependencies import Context, ContextDep, JobsRead, JobsWrite
from api.http.idempotency import IdempotencyKey, body_digest
from api.http.json_body import JsonRoute
from api.http.pagination import DEFAULT_LIMIT, After, Limit, paginate
from api.http.problems import not_found, problem_responses
from api.http.ranges import etag_matches
from api.http.serializers import json_response, serialize_job
from api.jobs.unlearn import UnlearnSubmission
from core.records import job_actions, jobs
from core.records.tables import JobRow
from core.schema.jobs import TERMINAL, Job, JobKind, JobRequest, Status
from core.schema.pages import Page
from core.schema.timestamps import UtcDatetime
from core.schema.verdict_parts import Verdict

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=JsonRoute)

EXAMPLES: dict[str, Any] = {
    "minimal": {
        "summary": "A minimal job",
        "value": {"model": "demo", "forget": {"records": ["Zorvek Halmi lives at 12 Pell Lane."]}},
    },
    "complete": {
        "summary": "A job with a chosen method and its sets",
        "value": {
            "model": "demo",
            "from": "base",
            "forget": {"file": "file-0190…"},
            "retain": [{"file": "file-0191…", "kind": "in_distribution", "weight": 1.0}],
            "unseen": {"file": "file-0192…"},
            "method": {"name": "ascent_kl", "retain_weight": 1.0},
            "training": {"learning_rate": 2e-5, "epochs": 1, "seed": 0},
            "evaluation": {"measure": ["standard"], "policy": "default"},
            "external_reference": "DSR-2026-0142",
            "metadata": {"team": "privacy"},
        },
    },
}


@router.post(
    "", status_code=202, response_model=Job, summary="Make a model forget", responses=problem_responses(409, 413, 415)
)
async def submit_job(
    body: Annotated[JobRequest, Body(openapi_examples=EXAMPLES)],
    request: Request,
    context: ContextDep,
    caller: JobsWrite,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queues an unlearning job. It needs at least a model and the records to forget; the retain and unseen sets come
    from the model's defaults, and the job makes those that neither has (`origin` in `data`).

    The request is checked at once: unknown methods and parameters, files that were uploaded for another
    purpose, and policies that are looser than the model's are refused. A job is accepted even while the broker is down.
    Scope: `jobs:write`.
    """
    submission = UnlearnSubmission(context, caller, body)

    async def create(session: AsyncSession) -> Response:
        row = await submission.write(session)
        return json_response(serialize_job(row), 202, {"Location": f"/v1/jobs/{row.id}", "ETag": _etag(row.version)})

    try:
        return await context.idempotency.run_once(request, caller, await body_digest(request), create)
    except Exception:
        await submission.discard()
        raise


@router.get("", summary="List jobs", responses=problem_responses())
async def list_jobs(
    context: ContextDep,
    caller: JobsRead,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
    kind: Annotated[
        JobKind | None, Query(description="only jobs of this kind; default: all kinds but `measure`")
    ] = None,
    status: Annotated[Status | None, Query(description="only jobs of this status")] = None,
    model: Annotated[str | None, Query(max_length=96, description="only jobs on this model")] = None,
    method: Annotated[str | None, Query(max_length=64, description="only jobs by this method")] = None,
    external_reference: Annotated[
        str | None, Query(max_length=256, description="only jobs with exactly this external reference")
    ] = None,
    reference: Annotated[
        str | None, Query(max_length=256, deprecated=True, description="the older name of `external_reference`")
    ] = None,
    verdict: Annotated[Verdict | None, Query(description="only jobs with this verdict")] = None,
    created_after: Annotated[UtcDatetime | None, Query(description="only jobs created at this time or later")] = None,
    created_before: Annotated[UtcDatetime | None, Query(description="only jobs created before this time")] = None,
    due_before: Annotated[date | None, Query(description="only jobs that are due before this day")] = None,
    overdue: Annotated[
        bool,
        Query(
            description="only jobs whose last day is over (in UTC) and that have neither succeeded nor been cancelled:"
            " a failed job is overdue until a retry succeeds or somebody cancels it"
        ),
    ] = False,
) -> Page[Job]:
    """Lists jobs, newest first; with `due_before` or `overdue`, the soonest due first. `GET /v1/measurements` lists
    measurements.

    Scope: `jobs:read` or `jobs:write`.
    """
    async with context.sessions() as session:
        rows = await jobs.page(
            session,
            caller.organisation,
            limit=limit + 1,
            after=after,
            kind=kind,
            status=status,
            model=model,
            method=method,
            external_reference=reference if external_reference is None else external_reference,
            verdict=verdict,
            created_after=created_after,
            created_before=created_before,
            due_before=due_before,
            overdue=overdue,
        )
    return paginate(rows, limit, serialize_job, item_id=lambda job: job.id)


@router.get(
    "/{job}",
    response_model=Job,
    summary="Get a job",
    responses={**problem_responses(404), 304: {"description": "The job has not changed since the ETag"}},
)
async def get_job(
    job: str,
    request: Request,
    context: ContextDep,
    caller: JobsRead,
    wait: Annotated[float, Query(ge=0, le=60, description="seconds to wait for a change of the job")] = 0,
    if_none_match: Annotated[str | None, Header(description="the ETag of an earlier answer")] = None,
) -> Response:
    """Describes the job, at once or, with `wait`, as soon as it has changed since the ETag in `If-None-Match` (without
    that header: since the request).

    A job that is over is answered at once, since it does not change by itself. Scope: `jobs:read` or `jobs:write`.
    """
    request.state.held = wait > 0
    version = await _wait_for_change(context, caller, job, wait, if_none_match)
    if version is not None and etag_matches(if_none_match, _etag(version)):
        return Response(status_code=304, headers={"ETag": _etag(version)})
    async with context.sessions() as session:
        row = await jobs.get(session, caller.organisation, job)
        if row is None:
            raise not_found("job")
        reason = await jobs.waiting_for(session, row, stale_seconds=context.stale_seconds)
    return json_response(serialize_job(row, reason), headers={"ETag": _etag(row.version)})


async def _wait_for_change(
    context: Context, caller: Caller, job: str, wait: float, if_none_match: str | None
) -> int | None:
    """Returns the job's version, at once if the client knows another one, else after a change or `wait` seconds.

    None: the request neither waits nor has an ETag.
    """
    if not wait and if_none_match is None:
        return None
    deadline = asyncio.get_running_loop().time() + wait
    async with context.job_notifications.watch(job) as watch:
        first_version: int | None = None
        while True:
            async with context.sessions() as session:
                version_and_status = await jobs.version_and_status(session, caller.organisation, job)
            if version_and_status is None:
                raise not_found("job")
            version, status = version_and_status
            first_version = version if first_version is None else first_version
            if if_none_match is None:
                changed = version != first_version
            else:
                changed = not etag_matches(if_none_match, _etag(version))
            seconds_left = deadline - asyncio.get_running_loop().time()
            if changed or status in TERMINAL or seconds_left <= 0:
                return version
            await watch.changed(seconds_left)


def _etag(version: int) -> str:
    return f'"{version}"'


@router.post("/{job}/cancel", status_code=202, summary="Cancel a job", responses=problem_responses(404, 409))
async def cancel_job(job: str, context: ContextDep, caller: JobsWrite) -> Job:
    """Cancels the job. A waiting job is cancelled at once; a running job as soon as its worker has stopped, and until
    then `requested` is `cancel`. A failed job is cancelled where its request was withdrawn, or another job has answered
    it: its deadline then no longer counts.

    409 where the job has succeeded or is cancelled. Scope: `jobs:write`.
    """
    async with context.sessions.begin() as session:
        row = await job_actions.cancel(session, caller.organisation, job, key=caller.key)
        if row is not None:
            await session.flush()
            await session.refresh(row)
    return _serialize_found(row)


@router.post("/{job}/pause", status_code=202, summary="Pause a job", responses=problem_responses(404, 409))
async def pause_job(job: str, context: ContextDep, caller: JobsWrite) -> Job:
    """Pauses the job. A waiting job pauses at once; a running job first finishes its step, saves a snapshot and frees
    its device, and until then `requested` is `pause`.

    409 where the job is over, paused or being cancelled. Scope: `jobs:write`.
    """
    async with context.sessions.begin() as session:
        return _serialize_found(await job_actions.pause(session, caller.organisation, job, key=caller.key))


@router.post("/{job}/resume", status_code=202, summary="Resume a job", responses=problem_responses(404, 409))
async def resume_job(job: str, context: ContextDep, caller: JobsWrite) -> Job:
    """Queues a paused job again. It continues from its snapshot if the next worker has that, and else starts over.

    Also takes back a requested pause. 409 where there is nothing to resume. Scope: `jobs:write`.
    """
    async with context.sessions.begin() as session:
        return _serialize_found(await job_actions.resume(session, caller.organisation, job, key=caller.key))


@router.post("/{job}/retry", status_code=202, summary="Retry a job", responses=problem_responses(404, 409))
async def retry_job(job: str, context: ContextDep, caller: JobsWrite) -> Job:
    """Queues a failed job for a new attempt; the events of earlier attempts stay.

    409 where the job has not failed, or where its model or a file that it needs was deleted. Scope: `jobs:write`.
    """
    async with context.sessions.begin() as session:
        return _serialize_found(await job_actions.retry(session, caller.organisation, job, key=caller.key))


def _serialize_found(row: JobRow | None) -> Job:
    if row is None:
        raise not_found("job")
    return serialize_job(row)
