"""Releases: a person accepts a checkpoint that did not pass its policy."""

from fastapi import APIRouter

from api.dependencies import ContextDep, ReleaseWrite
from api.http.json_body import JsonRoute
from api.http.problems import not_found, problem_responses
from api.http.serializers import serialize_checkpoint
from core.records import checkpoints, release
from core.schema.checkpoints import Checkpoint, ReleaseRequest

router = APIRouter(tags=["checkpoints"], route_class=JsonRoute)


@router.post(
    "/v1/checkpoints/{checkpoint}/release",
    summary="Release a checkpoint",
    responses=problem_responses(404, 409, 413, 415),
)
async def release_checkpoint(
    checkpoint: str, body: ReleaseRequest, context: ContextDep, caller: ReleaseWrite
) -> Checkpoint:
    """Accepts a checkpoint whose verdict is `failed` or `not_judged`.

    Its files can then be downloaded. It also becomes the model's head, from which later jobs start, if its own job
    started from the head and no newer checkpoint has become the head since. The audit log records who accepted it and
    why; the reason is stored nowhere else.

    403 `own-job` for the key that submitted the job: a release takes a second person. 409 where it is released
    already. Scope: `release:write`.
    """
    async with context.sessions.begin() as session:
        row = await release.release(session, caller.organisation, checkpoint, key=caller.key, reason=body.reason)
        if row is None:
            raise not_found("checkpoint")
        return serialize_checkpoint(row, await checkpoints.files(session, row.id))
