"""API keys: create, list, show, revoke."""

from fastapi import APIRouter, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from api.auth import hash_key, key_prefix, new_api_key
from api.dependencies import Admin, AnyKey, ContextDep
from api.http.idempotency import IdempotencyKey, body_digest
from api.http.json_body import JsonRoute
from api.http.pagination import DEFAULT_LIMIT, After, Limit, paginate
from api.http.problems import not_found, problem_responses
from api.http.serializers import json_response
from core.records import keys
from core.records.tables import ApiKey
from core.schema.api_keys import Key, KeyRequest, NewKey
from core.schema.pages import Page

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=JsonRoute)


def _fields(row: ApiKey) -> dict[str, object]:
    names = ("id", "name", "prefix", "organisation", "scopes", "created_at", "expires_at", "revoked_at")
    return {name: getattr(row, name) for name in names}


def _serialize(row: ApiKey) -> Key:
    return Key.model_validate(_fields(row))


@router.post("", status_code=201, response_model=NewKey, summary="Create a key", responses=problem_responses(409))
async def create_key(
    body: KeyRequest, request: Request, context: ContextDep, caller: Admin, idempotency_key: IdempotencyKey = None
) -> Response:
    """Creates a key of the caller's organisation. This answer alone shows the key. Scope: `admin`."""

    async def create(session: AsyncSession) -> Response:
        key = new_api_key()
        row = await keys.add(
            session,
            organisation=caller.organisation,
            name=body.name,
            prefix=key_prefix(key),
            hash=hash_key(key, context.service_key),
            scopes=body.scopes,
            expires_at=body.expires_at,
            created_by=caller.key,
        )
        return json_response(
            NewKey.model_validate({**_fields(row), "key": key}), 201, {"Location": f"/v1/keys/{row.id}"}
        )

    return await context.idempotency.run_once(request, caller, await body_digest(request), create)


@router.get("", summary="List keys", responses=problem_responses())
async def list_keys(context: ContextDep, caller: Admin, limit: Limit = DEFAULT_LIMIT, after: After = None) -> Page[Key]:
    """Lists the organisation's keys, newest first, with the revoked ones. Scope: `admin`."""
    async with context.sessions() as session:
        rows = await keys.page(session, caller.organisation, limit=limit + 1, after=after)
    return paginate(rows, limit, _serialize, item_id=lambda key: key.id)


@router.get("/self", summary="Get the caller's own key", responses=problem_responses())
async def get_own_key(context: ContextDep, caller: AnyKey) -> Key:
    """Describes the key that this request came with. Any key may ask."""
    async with context.sessions() as session:
        row = await keys.get(session, caller.organisation, caller.key)
    if row is None:
        raise not_found("key")
    return _serialize(row)


@router.post("/self/sign-in", summary="Sign in to the console", responses=problem_responses())
async def sign_in(context: ContextDep, caller: AnyKey) -> Key:
    """Describes the key that this request came with, and writes to the audit log that a person signed in with it.

    The console asks this when a person enters a key. Any key may ask.
    """
    async with context.sessions.begin() as session:
        row = await keys.sign_in(session, caller.organisation, caller.key)
    if row is None:
        raise not_found("key")
    return _serialize(row)


@router.get("/{key}", summary="Get a key", responses=problem_responses(404))
async def get_key(key: str, context: ContextDep, caller: Admin) -> Key:
    """Describes a key of the organisation. Scope: `admin`."""
    async with context.sessions() as session:
        row = await keys.get(session, caller.organisation, key)
    if row is None:
        raise not_found("key")
    return _serialize(row)


@router.delete("/{key}", summary="Revoke a key", responses=problem_responses(404))
async def revoke_key(key: str, context: ContextDep, caller: Admin) -> Key:
    """Revokes the key at once, on other replicas within seconds. The key stays in the list. Scope: `admin`."""
    async with context.sessions.begin() as session:
        row = await keys.revoke(session, caller.organisation, key, revoked_by=caller.key)
    if row is None:
        raise not_found("key")
    context.caller_cache.forget(row.id)
    return _serialize(row)
