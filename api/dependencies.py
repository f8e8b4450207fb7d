"""FastAPI dependencies of the routes: the process's context, and the authenticated caller with the scopes it needs."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from api.auth import Caller, CallerCache, find_caller
from api.http.idempotency import Idempotency
from api.http.problems import Problem
from api.http.prometheus import Metrics
from api.http.rate_limit import RateLimiter
from api.http.startup import Startup
from api.http.storage_probe import StorageProbe
from api.models.registration import Registrar
from api.webhooks.address_rules import AddressRules
from core.records.notifications import Notifications
from core.schema.api_keys import Scope
from core.settings import Settings
from core.storage import Storage
from core.storage.file_keys import FileKeys

FILE_READERS = 4


@dataclass
class Context:
    """Objects that live as long as the process, and that its requests share."""

    settings: Settings
    service_key: bytes = field(repr=False)
    file_keys: FileKeys
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    storage: Storage
    storage_probe: StorageProbe
    redis: Redis
    job_notifications: Notifications
    caller_cache: CallerCache
    rate_limiter: RateLimiter
    idempotency: Idempotency
    metrics: Metrics
    registrar: Registrar
    webhook_rules: AddressRules
    startup: Startup
    file_readers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(FILE_READERS))
    """Limits the requests that read files while they hold a database connection, so that connections are left."""

    @property
    def stale_seconds(self) -> float:
        """Seconds without a heartbeat after which a worker counts as gone."""
        return max(self.settings.lease_seconds, 3 * self.settings.sweep_seconds)


async def get_context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


ContextDep = Annotated[Context, Depends(get_context)]

_bearer = HTTPBearer(auto_error=False, scheme_name="API key", description="`Authorization: Bearer ulk_…`")


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="unlearning service"'})


async def authenticate(
    request: Request,
    context: ContextDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Returns the caller. Problem: 401 without a valid key, 429 where the key sends too many requests."""
    if credentials is None:
        raise _unauthorized("send an API key: 'Authorization: Bearer <key>'")
    caller = await find_caller(
        credentials.credentials,
        sessions=context.sessions,
        service_key=context.service_key,
        cache=context.caller_cache,
    )
    if caller is None:
        raise _unauthorized("the API key is not valid")
    rate_limit = context.rate_limiter.take(caller.key)
    request.scope["state"]["answer_headers"] = rate_limit.headers
    request.scope["state"]["key"] = caller.key
    if not rate_limit.allowed:
        headers = {"Retry-After": str(rate_limit.retry_after)}
        raise Problem(429, "too-many-requests", f"try again in {rate_limit.retry_after} s", headers=headers)
    return caller


def _require_any(*scopes: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    async def require(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
        if not caller.has_scope(*scopes):
            raise Problem(403, "forbidden", f"the API key lacks the scope {' or '.join(scopes)}")
        return caller

    return require


AnyKey = Annotated[Caller, Depends(authenticate)]
FilesRead = Annotated[Caller, Depends(_require_any("files:write", "jobs:read", "jobs:write"))]
FilesWrite = Annotated[Caller, Depends(_require_any("files:write"))]
ModelsProbe = Annotated[Caller, Depends(_require_any("models:probe"))]
ModelsWrite = Annotated[Caller, Depends(_require_any("models:write"))]
JobsRead = Annotated[Caller, Depends(_require_any("jobs:read", "jobs:write"))]
EvidenceRead = Annotated[Caller, Depends(_require_any("evidence:read"))]
JobsWrite = Annotated[Caller, Depends(_require_any("jobs:write"))]
ReportRead = Annotated[Caller, Depends(_require_any("evidence:read", "jobs:read", "jobs:write"))]
ReleaseWrite = Annotated[Caller, Depends(_require_any("release:write"))]
Admin = Annotated[Caller, Depends(_require_any("admin"))]


def require_release_scope(caller: Caller, reason: str) -> None:
    """Raises Problem (403) for a caller without `release:write`.

    Needed for settings that release checkpoints which the default policy holds back; `reason` names the setting.
    """
    if not caller.has_scope("release:write"):
        raise Problem(403, "forbidden", f"the API key lacks the scope release:write: {reason}")
