"""Jobs: submitted, followed, and what is wished of them afterwards."""

import asyncio
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
from core.schema.policies import Verdict
from core.schema.timestamps import UtcDatetime

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=JsonRoute)

EXAMPLES: dict[str, Any] = {
    "least": {
        "summary": "the least that works",
        "value": {"model": "demo", "forget": {"records": ["Zorvek Halmi lives at 12 Pell Lane."]}},
    },
    "whole": {
        "summary": "a method of one's own choice, with its sets",
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
    """Queues a job. The least: a model and what it must forget; retain and unseen sets come from the model's defaults.

    What can be wrong is said now: an unknown method or parameter, a set that the method needs, a file that was
    uploaded for another purpose, a policy that asks for less than the model's. The broker is not asked: a job is
    accepted while it is down. Scope: `jobs:write`.
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
    kind: Annotated[JobKind | None, Query(description="default: all but `measure`")] = None,
    status: Annotated[Status | None, Query(description="only those of this status")] = None,
    model: Annotated[str | None, Query(max_length=96, description="only those on this model")] = None,
    method: Annotated[str | None, Query(max_length=64, description="only those by this method")] = None,
    external_reference: Annotated[
        str | None, Query(max_length=256, description="only those with exactly this one")
    ] = None,
    reference: Annotated[
        str | None, Query(max_length=256, deprecated=True, description="the older name of `external_reference`")
    ] = None,
    verdict: Annotated[Verdict | None, Query(description="only those with this verdict")] = None,
    created_after: Annotated[UtcDatetime | None, Query(description="made at this time or later")] = None,
    created_before: Annotated[UtcDatetime | None, Query(description="made before this time")] = None,
) -> Page[Job]:
    """Newest first. What only measures is listed by `GET /v1/measurements`. Scope: `jobs:read` or `jobs:write`."""
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
        )
    return paginate(rows, limit, serialize_job, item_id=lambda job: job.id)


@router.get(
    "/{job}",
    response_model=Job,
    summary="One job",
    responses={**problem_responses(404), 304: {"description": "The job is as the ETag says"}},
)
async def get_job(
    job: str,
    request: Request,
    context: ContextDep,
    caller: JobsRead,
    wait: Annotated[float, Query(ge=0, le=60, description="seconds to hold the answer until the job changes")] = 0,
    if_none_match: Annotated[str | None, Header(description="the ETag of the answer before")] = None,
) -> Response:
    """The job as it is, or, with `wait`, once it has changed: since the ETag in `If-None-Match`, else since now.

    A job that is over does not change by itself and is answered at once. Scope: `jobs:read` or `jobs:write`.
    """
    request.state.held = wait > 0
    version = await _version(context, caller, job, wait, if_none_match)
    if version is not None and etag_matches(if_none_match, _etag(version)):
        return Response(status_code=304, headers={"ETag": _etag(version)})
    async with context.sessions() as session:
        row = await jobs.get(session, caller.organisation, job)
        if row is None:
            raise not_found("job")
        reason = await jobs.waiting_for(session, row, stale_seconds=context.stale_seconds)
    return json_response(serialize_job(row, reason), headers={"ETag": _etag(row.version)})


async def _version(context: Context, caller: Caller, job: str, wait: float, known: str | None) -> int | None:
    """The job's version, where it is asked for: after the wait, or at once where the client has another one."""
    if not wait and known is None:
        return None
    deadline = asyncio.get_running_loop().time() + wait
    async with context.job_notifications.watch(job) as watch:
        first: int | None = None
        while True:
            async with context.sessions() as session:
                found = await jobs.version_and_status(session, caller.organisation, job)
            if found is None:
                raise not_found("job")
            version, status = found
            first = version if first is None else first
            changed = version != first if known is None else not etag_matches(known, _etag(version))
            left = deadline - asyncio.get_running_loop().time()
            if changed or status in TERMINAL or left <= 0:
                return version
            await watch.changed(left)


def _etag(version: int) -> str:
    return f'"{version}"'


@router.post("/{job}/cancel", status_code=202, summary="Cancel a job", responses=problem_responses(404, 409))
async def cancel_job(job: str, context: ContextDep, caller: JobsWrite) -> Job:
    """A waiting job is cancelled at once; a running one when its worker has let go (`requested` says so until then).

    409 where the job is over. Scope: `jobs:write`.
    """
    async with context.sessions.begin() as session:
        row = await job_actions.cancel(session, caller.organisation, job)
        if row is not None:
            await session.flush()
            await session.refresh(row)
    return _wished(row)


@router.post("/{job}/pause", status_code=202, summary="Pause a job", responses=problem_responses(404, 409))
async def pause_job(job: str, context: ContextDep, caller: JobsWrite) -> Job:
    """A waiting job pauses at once; a running one finishes its step, saves a snapshot and frees its device first
    (`requested` says so until then). 409 where the job is over, paused or being cancelled. Scope: `jobs:write`.
    """
    async with context.sessions.begin() as session:
        return _wished(await job_actions.pause(session, caller.organisation, job))


@router.post("/{job}/resume", status_code=202, summary="Let a paused job go on", responses=problem_responses(404, 409))
async def resume_job(job: str, context: ContextDep, caller: JobsWrite) -> Job:
    """Back into the queue, to go on from the job's snapshot where the worker that takes it up has it.

    A wish to pause that has not been granted yet is taken back. 409 where there is nothing to resume.
    Scope: `jobs:write`.
    """
    async with context.sessions.begin() as session:
        return _wished(await job_actions.resume(session, caller.organisation, job))


@router.post("/{job}/retry", status_code=202, summary="Try a failed job again", responses=problem_responses(404, 409))
async def retry_job(job: str, context: ContextDep, caller: JobsWrite) -> Job:
    """A new attempt; the old ones stay in the job's events. 409 where the job has not failed, or where its model or a
    file that it needs has been deleted. Scope: `jobs:write`.
    """
    async with context.sessions.begin() as session:
        return _wished(await job_actions.retry(session, caller.organisation, job))


def _wished(row: JobRow | None) -> Job:
    if row is None:
        raise not_found("job")
    return serialize_job(row)
