"""Policies, by which the checkpoints of a model are judged: create, list, show, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from api.dependencies import AnyKey, ContextDep, ModelsWrite, require_release_scope
from api.http.idempotency import IdempotencyKey, body_digest
from api.http.json_body import JsonRoute
from api.http.pagination import DEFAULT_LIMIT, After, Limit, paginate
from api.http.problems import Problem, not_found, problem_responses
from api.http.serializers import json_response
from core.records import policies
from core.records.policies import BUILT_IN
from core.records.tables import PolicyRow
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.pages import Page
from core.schema.policies import Policy, loosened_bounds
from core.schema.stored_policies import StoredPolicy

router = APIRouter(prefix="/v1/policies", tags=["policies"], route_class=JsonRoute)

EXAMPLES: dict[str, Any] = {
    "two bounds": {
        "summary": "The text must not come back, and retained text must not suffer",
        "value": {
            "name": "house",
            "description": "the privacy board's decision",
            "bounds": [
                {"name": "extraction", "set": "forget", "figure": "extraction_strength", "high": 0.1},
                {
                    "name": "retain",
                    "set": "retain",
                    "figure": "perplexity",
                    "against": "before",
                    "by": "ratio",
                    "high": 1.05,
                },
            ],
        },
    }
}


def _serialize(policy: Policy, row: PolicyRow | None = None) -> StoredPolicy:
    return StoredPolicy(
        name=policy.name,
        description=policy.description,
        bounds=policy.bounds,
        requires=policy.requires,
        built_in=row is None,
        created_by=None if row is None else row.key,
        created_at=None if row is None else row.created_at,
    )


def _serialize_row(row: PolicyRow) -> StoredPolicy:
    return _serialize(Policy.model_validate(row.policy), row)


def _refuse_built_in(name: str) -> None:
    if name in BUILT_IN:
        detail = f"'{name}' comes with the service: it can neither be replaced nor deleted"
        raise Problem(409, "built-in", detail)


@router.post(
    "",
    status_code=201,
    response_model=StoredPolicy,
    summary="Create a policy",
    responses=problem_responses(409, 413, 415),
)
async def create_policy(
    body: Annotated[Policy, Body(openapi_examples=EXAMPLES)],
    request: Request,
    context: ContextDep,
    caller: ModelsWrite,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Stores a list of bounds under a name. Models are registered with that name, and jobs may request it.

    A bound limits one figure: by itself, compared with the model before, or compared with a retrained model. A
    checkpoint passes it if the whole 95 % interval lies within the limits. `requires` says which parts of the verdict
    must be passed: `extraction` (the text does not come out) and `membership` (nobody can tell that the model has seen
    it), each from a number of records to forget on. A policy never changes; create another one under another name
    instead.

    Scope: `models:write`; also `release:write` for a policy that is looser than the default one, which means that it
    lacks a bound of the default policy, has a wider one, or requires a part only with more records.
    """
    _refuse_built_in(body.name)
    if loosened := loosened_bounds(DEFAULT_POLICY, body):
        require_release_scope(caller, f"the policy is looser than the default one ({loosened[0]})")

    async def create(session: AsyncSession) -> Response:
        policy = Policy(
            name=body.name,
            description=body.description,
            bounds=[bound.model_copy(update={"added": False}) for bound in body.bounds],
            requires=body.requires,
        ).model_dump(mode="json")
        row = await policies.add(session, caller.organisation, body.name, policy, key=caller.key)
        if row is None:
            raise Problem(409, "already-exists", "there is a policy of this name: choose another name")
        return json_response(_serialize_row(row), 201, {"Location": f"/v1/policies/{row.name}"})

    return await context.idempotency.run_once(request, caller, await body_digest(request), create)


@router.get("", summary="List policies", responses=problem_responses())
async def list_policies(
    context: ContextDep, caller: AnyKey, limit: Limit = DEFAULT_LIMIT, after: After = None
) -> Page[StoredPolicy]:
    """Lists policies by name, with the built-in ones. Any key may ask."""
    async with context.sessions() as session:
        rows = await policies.page(session, caller.organisation, limit=limit + 1, after=after)
    built_in = [_serialize(policy) for name, policy in BUILT_IN.items() if after is None or name > after]
    sorted_policies = sorted([*built_in, *map(_serialize_row, rows)], key=lambda policy: policy.name)
    return paginate(sorted_policies, limit, lambda policy: policy, item_id=lambda policy: policy.name)


@router.get("/{name}", summary="Get a policy", responses=problem_responses(404))
async def get_policy(name: str, context: ContextDep, caller: AnyKey) -> StoredPolicy:
    """Describes the policy, with all of its bounds. Any key may ask."""
    if name in BUILT_IN:
        return _serialize(BUILT_IN[name])
    async with context.sessions() as session:
        row = await policies.get(session, caller.organisation, name)
    if row is None:
        raise not_found("policy")
    return _serialize_row(row)


@router.delete("/{name}", status_code=204, summary="Delete a policy", responses=problem_responses(404, 409))
async def delete_policy(name: str, context: ContextDep, caller: ModelsWrite) -> None:
    """Deletes the policy; submitted jobs keep it. 409 while a model is registered with it. Scope: `models:write`."""
    _refuse_built_in(name)
    async with context.sessions.begin() as session:
        if not await policies.remove(session, caller.organisation, name, key=caller.key):
            raise not_found("policy")
