"""Deadlines: a person extends a job's deadline and says why."""

from fastapi import APIRouter

from api.dependencies import ContextDep, JobsWrite
from api.http.json_body import JsonRoute
from api.http.problems import not_found, problem_responses
from api.http.serializers import serialize_job
from core.records import deadlines
from core.schema.deadlines import ExtensionRequest
from core.schema.jobs import Job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=JsonRoute)


@router.post("/{job}/extend", summary="Extend a job's deadline", responses=problem_responses(404, 409, 413, 415))
async def extend_deadline(job: str, body: ExtensionRequest, context: ContextDep, caller: JobsWrite) -> Job:
    """Moves the job's deadline to a later day: all extensions together add two calendar months at most.

    The job's `extensions` and the audit log keep who extended it, when and why. 409 where the job has succeeded, is
    cancelled, or has no deadline, and `deadline-passed` where its last day is over. Scope: `jobs:write`.
    """
    async with context.sessions.begin() as session:
        row = await deadlines.extend(
            session, caller.organisation, job, due=body.due, reason=body.reason, key=caller.key
        )
        if row is None:
            raise not_found("job")
        return serialize_job(row)
