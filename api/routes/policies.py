"""Policies: what models are held to; kept by name, listed, deleted."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request
from pydantic import Field
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
from core.schema.policies import Bound, Policy, loosened_bounds
from core.schema.strict import Answer

router = APIRouter(prefix="/v1/policies", tags=["policies"], route_class=JsonRoute)

EXAMPLES: dict[str, Any] = {
    "two bounds": {
        "summary": "the text may not come back, and what is retained may not suffer",
        "value": {
            "name": "house",
            "description": "what the privacy board has decided on",
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


class KeptPolicy(Answer):
    """A policy, and who made it."""

    name: str = Field(description="by which models and requests name it")
    object: Literal["policy"] = Field(default="policy", description="always `policy`")
    description: str | None = Field(description="what it is for")
    bounds: list[Bound] = Field(description="each of which must be passed")
    built_in: bool = Field(description="comes with the service")
    created_by: str | None = Field(description="the key that made it")
    created_at: datetime | None = Field(description="when it was made; null: it comes with the service")


def _view(policy: Policy, row: PolicyRow | None = None) -> KeptPolicy:
    return KeptPolicy(
        name=policy.name,
        description=policy.description,
        bounds=policy.bounds,
        built_in=row is None,
        created_by=None if row is None else row.key,
        created_at=None if row is None else row.created_at,
    )


def _kept(row: PolicyRow) -> KeptPolicy:
    return _view(Policy.model_validate(row.policy), row)


def _not_built_in(name: str) -> None:
    if name in BUILT_IN:
        detail = f"'{name}' comes with the service: it can neither be replaced nor deleted"
        raise Problem(409, "built-in", detail)


@router.post(
    "", status_code=201, response_model=KeptPolicy, summary="Keep a policy", responses=problem_responses(409, 413, 415)
)
async def create_policy(
    body: Annotated[Policy, Body(openapi_examples=EXAMPLES)],
    request: Request,
    context: ContextDep,
    caller: ModelsWrite,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Keeps a list of bounds under a name, which models are then registered with and jobs ask for.

    Each bound is of one figure: on its own, against the model before, or against a retrained one. It is passed where
    the whole 95 % interval lies within its limits. A policy never changes: make another, under another name.
    Scope: `models:write`; for one that is looser than the default one (a bound of it is missing, or wider), also
    `release:write`.
    """
    _not_built_in(body.name)
    if problems := loosened_bounds(DEFAULT_POLICY, body):
        require_release_scope(caller, f"the policy is looser than the default one ({problems[0]})")

    async def create(session: AsyncSession) -> Response:
        policy = Policy(
            name=body.name,
            description=body.description,
            bounds=[bound.model_copy(update={"added": False}) for bound in body.bounds],
        ).model_dump(mode="json")
        row = await policies.add(session, caller.organisation, body.name, policy, key=caller.key)
        if row is None:
            raise Problem(409, "already-exists", "there is a policy of this name: choose another name")
        return json_response(_kept(row), 201, {"Location": f"/v1/policies/{row.name}"})

    return await context.idempotency.run_once(request, caller, await body_digest(request), create)


@router.get("", summary="List policies", responses=problem_responses())
async def list_policies(
    context: ContextDep, caller: AnyKey, limit: Limit = DEFAULT_LIMIT, after: After = None
) -> Page[KeptPolicy]:
    """By name, the built-in one among them. Any key may ask."""
    async with context.sessions() as session:
        rows = await policies.page(session, caller.organisation, limit=limit + 1, after=after)
    built_in = [_view(policy) for name, policy in BUILT_IN.items() if after is None or name > after]
    shown = sorted([*built_in, *map(_kept, rows)], key=lambda policy: policy.name)
    return paginate(shown, limit, lambda policy: policy, item_id=lambda policy: policy.name)


@router.get("/{name}", summary="One policy", responses=problem_responses(404))
async def get_policy(name: str, context: ContextDep, caller: AnyKey) -> KeptPolicy:
    """All of its bounds. Any key may ask."""
    if name in BUILT_IN:
        return _view(BUILT_IN[name])
    async with context.sessions() as session:
        row = await policies.get(session, caller.organisation, name)
    if row is None:
        raise not_found("policy")
    return _kept(row)


@router.delete("/{name}", status_code=204, summary="Delete a policy", responses=problem_responses(404, 409))
async def delete_policy(name: str, context: ContextDep, caller: ModelsWrite) -> None:
    """Jobs keep what they were submitted with. 409 while a model has it pinned. Scope: `models:write`."""
    _not_built_in(name)
    async with context.sessions.begin() as session:
        if not await policies.remove(session, caller.organisation, name, key=caller.key):
            raise not_found("policy")
