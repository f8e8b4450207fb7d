"""Base models: register, list, show, delete."""

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
from core.records import files, jobs, models, policies
from core.records.tables import ModelRow
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.models import Defaults, Model, ModelRequest
from core.schema.pages import Page
from core.schema.policies import loosened_bounds

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=JsonRoute)

DEFAULT_FILE_PURPOSES = {
    "retain": ("retain", "general"),
    "unseen": ("unseen",),
    "general": ("general", "retain"),
    "probes": ("probes",),
}
"""Purposes that a model's default file may have been uploaded for, by the set that it is the default of."""


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
    """Registers a directory below the allowed roots, or a Hub repository `hf:org/name@revision` that the operator's
    list allows.

    A directory is checked at once: safetensors only, no code of its own, a tokenizer that fits the model. A repository
    is fetched first, and pinned to its commit. `status` changes from `fetching` to `ready` or `failed`. Every job on
    the model is judged by `policy`.

    Scope: `models:write`; also `release:write` for `"release": "always"`, and for a policy that is looser than the
    default one, so that nobody can loosen the policy for jobs of her own.
    """
    if body.release == "always" and context.settings.release != "always":
        require_release_scope(
            caller, "with 'release': 'always' every checkpoint of the model is released, whatever its verdict"
        )
    checked = await asyncio.to_thread(check_source, body.source, context.settings)
    created: list[ModelRow] = []

    async def create(session: AsyncSession) -> Response:
        default_files = [file for file in body.defaults.model_dump().values() if file is not None]
        await files.extend_lifetime(session, caller.organisation, default_files, lifetime=context.settings.retention)
        await _check_defaults(session, caller, body.defaults)
        row = await models.add(
            session,
            ModelRow(
                organisation=caller.organisation,
                id=body.id,
                source=body.source,
                directory=str(checked[0]) if checked else None,
                dtype=body.dtype,
                status="fetching",
                shape=checked[1].model_dump(mode="json") if checked else None,
                defaults=body.defaults.model_dump(),
                release=body.release or context.settings.release,
                policy=await _check_policy(session, caller, body.policy),
                training_tokens=body.training_tokens,
            ),
            key=caller.key,
        )
        if row is None:
            raise Problem(409, "already-exists", "there is a model of this id: delete it first, or choose another id")
        created.append(row)
        return json_response(serialize_model(row), 202, {"Location": f"/v1/models/{row.id}"})

    response = await context.idempotency.run_once(request, caller, await body_digest(request), create)
    for row in created:
        context.registrar.start(row)
    return response


async def _check_policy(session: AsyncSession, caller: Caller, name: str) -> str | None:
    """Returns the policy's name for the model's row; None: a built-in policy.

    Problem: 422 where there is no such policy; 403 where it is looser than the default one and the caller lacks the
    scope `release:write`.
    """
    policy = await policies.resolve(session, caller.organisation, name, lock=True)
    if policy is None:
        raise unprocessable(
            "/policy", f"there is no policy '{name}': POST /v1/policies keeps one", name="unknown-policy"
        )
    if loosened := loosened_bounds(DEFAULT_POLICY, policy):
        require_release_scope(caller, f"the policy '{name}' is looser than the default one ({loosened[0]})")
    return None if name in policies.BUILT_IN else name


async def _check_defaults(session: AsyncSession, caller: Caller, defaults: Defaults) -> None:
    """Locks the default files. Problem (422): a file does not exist, or was uploaded for another purpose."""
    default_files = {name: file for name, file in defaults.model_dump().items() if file is not None}
    rows = await jobs.lock_files(session, caller.organisation, list(default_files.values()))
    for name, file in default_files.items():
        if file not in rows:
            raise unprocessable(f"/defaults/{name}", "there is no such file", name="unknown-file")
        if rows[file].purpose not in DEFAULT_FILE_PURPOSES[name]:
            detail = (
                f"the file was uploaded as '{rows[file].purpose}', not as {' or '.join(DEFAULT_FILE_PURPOSES[name])}"
            )
            raise unprocessable(f"/defaults/{name}", detail, name="wrong-purpose")


@router.get("", summary="List models", responses=problem_responses())
async def list_models(
    context: ContextDep, caller: AnyKey, limit: Limit = DEFAULT_LIMIT, after: After = None
) -> Page[Model]:
    """Lists models by id, since people choose the ids and they do not follow time. Any key may ask."""
    async with context.sessions() as session:
        rows = await models.page(session, caller.organisation, limit=limit + 1, after=after)
    return paginate(rows, limit, serialize_model, item_id=lambda model: model.id)


@router.get("/{model}", summary="Get a model", responses=problem_responses(404))
async def get_model(model: str, context: ContextDep, caller: AnyKey) -> Model:
    """Describes the model: `status`, shape, digest and `head`, the newest released checkpoint. Any key may ask."""
    async with context.sessions() as session:
        row = await models.get(session, caller.organisation, model)
    if row is None:
        raise not_found("model")
    return serialize_model(row)


@router.delete("/{model}", status_code=204, summary="Delete a model", responses=problem_responses(404, 409))
async def delete_model(model: str, context: ContextDep, caller: ModelsWrite) -> None:
    """Deletes the registration. The directory and the checkpoints stay. 409 while a job needs the model.

    Scope: `models:write`.
    """
    async with context.sessions.begin() as session:
        if not await models.remove(session, caller.organisation, model, key=caller.key):
            raise not_found("model")
    context.registrar.cancel(caller.organisation, model)
