"""What a request works with: made once when the process starts, handed to the routes by their signature."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from api.http.prometheus import Metrics
from api.http.rate_limit import RateLimiter
from api.http.storage_probe import StorageProbe
from core.records.notifications import Notifications
from core.settings import Settings
from core.storage import Storage

if TYPE_CHECKING:
    from api.auth import CallerCache
    from api.models.registration import Registrar

RENDERINGS = 4


@dataclass
class Context:
    settings: Settings
    service_key: bytes = field(repr=False)
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    storage: Storage
    storage_probe: StorageProbe
    redis: Redis
    job_notifications: Notifications
    caller_cache: "CallerCache"
    rate_limiter: RateLimiter
    metrics: Metrics
    registrar: "Registrar"
    prepared: bool = False
    rendering: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RENDERINGS))
    """Held by requests that read files while they hold a connection: a few at most, or no connection would be left."""

    @property
    def stale_seconds(self) -> float:
        """After how long without a sign of life a worker counts as gone."""
        return max(self.settings.lease_seconds, 3 * self.settings.sweep_seconds)


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


ContextDep = Annotated[Context, Depends(_context)]
