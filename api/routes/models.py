"""Base models: registered, shown, forgotten."""

import asyncio

from fastapi import APIRouter, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from api.auth import Caller
from api.dependencies import AnyKey, ContextDep, ModelsWrite, require_release_scope
from api.http.idempotency import IdempotencyKey, body_digest
from api.http.json_body import JsonRoute
from api.http.pagination import DEFAULT_LIMIT, After, Limit, paginate
from api.http.problems import Problem, not_found, problem_responses, unprocessable
from api.http.serializers import json_response, serialize_model
from api.models.model_sources import check_source
from core.records import audit, files, jobs, models, policies
from core.records.tables import ModelRow
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.models import Defaults, Model, ModelRequest
from core.schema.pages import Page
from core.schema.policies import loosened_bounds

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=JsonRoute)

PURPOSES = {
    "retain": ("retain", "general"),
    "unseen": ("unseen",),
    "general": ("general", "retain"),
    "probes": ("probes",),
}
"""What a file must have been uploaded as to be a model's default."""


@router.post(
    "", status_code=202, response_model=Model, summary="Register a model", responses=problem_responses(409, 413, 415)
)
async def register_model(
    body: ModelRequest,
    request: Request,
    context: ContextDep,
    caller: ModelsWrite,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A directory below the allowed roots, or `hf:org/name@revision` where the operator's list has the repository.

    A directory is checked at once (safetensors only, no code of its own, a tokenizer that fits); a repository is
    fetched first, pinned to its commit. `status` goes from `fetching` to `ready` or `failed`. `policy` is what every
    job on the model is held to. Scope: `models:write`; with `"release": "always"`, or a policy that is looser than the
    default one, also `release:write`: who submits and registers must not set what her own jobs are held to.
    """
    if body.release == "always" and context.settings.release != "always":
        require_release_scope(
            caller, "with 'release': 'always' every checkpoint of the model is released, whatever its verdict"
        )
    found = await asyncio.to_thread(check_source, body.source, context.settings)
    made: list[ModelRow] = []

    async def create(session: AsyncSession) -> Response:
        named = [file for file in body.defaults.model_dump().values() if file is not None]
        await files.extend_lifetime(session, caller.organisation, named, lifetime=context.settings.retention)
        await _check_defaults(session, caller, body.defaults)
        row = await models.add(
            session,
            ModelRow(
                organisation=caller.organisation,
                id=body.id,
                source=body.source,
                directory=str(found[0]) if found else None,
                dtype=body.dtype,
                status="fetching",
                shape=found[1].model_dump(mode="json") if found else None,
                defaults=body.defaults.model_dump(),
                release=body.release or context.settings.release,
                policy=await _pinned(session, caller, body.policy),
                training_tokens=body.training_tokens,
            ),
        )
        if row is None:
            raise Problem(409, "already-exists", "there is a model of this id: delete it first, or choose another id")
        told = {"source": row.source, "release": row.release, "policy": body.policy}
        await audit.append(session, caller.organisation, caller.key, "model.registered", row.id, told)
        made.append(row)
        return json_response(serialize_model(row), 202, {"Location": f"/v1/models/{row.id}"})

    answered = await context.idempotency.run_once(request, caller, await body_digest(request), create)
    for row in made:
        context.registrar.start(row)
    return answered


async def _pinned(session: AsyncSession, caller: Caller, name: str) -> str | None:
    """The policy as the row names it. Problem: 422, there is none of this name; 403, it asks for less than the default
    one, and the caller may not release."""
    found = await policies.resolve(session, caller.organisation, name, lock=True)
    if found is None:
        raise unprocessable(
            "/policy", f"there is no policy '{name}': POST /v1/policies keeps one", name="unknown-policy"
        )
    if problems := loosened_bounds(DEFAULT_POLICY, found):
        require_release_scope(caller, f"the policy '{name}' is looser than the default one ({problems[0]})")
    return None if name in policies.BUILT_IN else name


async def _check_defaults(session: AsyncSession, caller: Caller, defaults: Defaults) -> None:
    """Holds the files that the defaults name. Problem: 422 where one is not there or was uploaded for another use."""
    named = {name: file for name, file in defaults.model_dump().items() if file is not None}
    rows = await jobs.lock_files(session, caller.organisation, list(named.values()))
    for name, file in named.items():
        if file not in rows:
            raise unprocessable(f"/defaults/{name}", "there is no such file", name="unknown-file")
        if rows[file].purpose not in PURPOSES[name]:
            detail = f"the file was uploaded as '{rows[file].purpose}', not as {' or '.join(PURPOSES[name])}"
            raise unprocessable(f"/defaults/{name}", detail, name="wrong-purpose")


@router.get("", summary="List models", responses=problem_responses())
async def list_models(
    context: ContextDep, caller: AnyKey, limit: Limit = DEFAULT_LIMIT, after: After = None
) -> Page[Model]:
    """By name: a model's id is a person's choice, not a time. Any key may ask."""
    async with context.sessions() as session:
        rows = await models.page(session, caller.organisation, limit=limit + 1, after=after)
    return paginate(rows, limit, serialize_model, item_id=lambda model: model.id)


@router.get("/{model}", summary="One model", responses=problem_responses(404))
async def get_model(model: str, context: ContextDep, caller: AnyKey) -> Model:
    """`status`, shape, digest and `head`, the newest released checkpoint. Any key may ask."""
    async with context.sessions() as session:
        row = await models.get(session, caller.organisation, model)
    if row is None:
        raise not_found("model")
    return serialize_model(row)


@router.delete("/{model}", status_code=204, summary="Forget a model", responses=problem_responses(404, 409))
async def delete_model(model: str, context: ContextDep, caller: ModelsWrite) -> None:
    """Deletes the registration, never the directory; its checkpoints stay. 409 while a job needs it.

    Scope: `models:write`.
    """
    async with context.sessions.begin() as session:
        if not await models.remove(session, caller.organisation, model):
            raise not_found("model")
    context.registrar.cancel(caller.organisation, model)
