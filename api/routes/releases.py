"""A person's word that a checkpoint may be used although it missed its policy."""

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
    """Accepts a checkpoint that waits: one whose verdict is `failed` or `not_judged`.

    From now on its bytes may be had, and, where its job started from the model's head and no newer one has taken that
    place, later jobs start from it. Who accepted it and why goes on the audit log; the reason stands nowhere else.

    403 `own-job` for the key that the job was submitted with: that takes a second person. 409 where it is released.
    Scope: `release:write`.
    """
    async with context.sessions.begin() as session:
        row = await release.release(session, caller.organisation, checkpoint, key=caller.key, reason=body.reason)
        if row is None:
            raise not_found("checkpoint")
        return serialize_checkpoint(row, await checkpoints.files(session, row.id))
