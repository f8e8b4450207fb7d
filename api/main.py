"""The HTTP service: `uvicorn api.main:app_from_environment --factory`. It never loads torch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import async_sessionmaker

from api.auth import CallerCache, add_operator_keys, operator_keys
from api.dependencies import Context
from api.http.body_limits import BodyLimitMiddleware
from api.http.exception_handlers import add_exception_handlers
from api.http.idempotency import Idempotency
from api.http.logs import configure
from api.http.openapi import openapi, operation_id
from api.http.prometheus import Metrics
from api.http.rate_limit import RateLimiter
from api.http.request_logging import RequestLoggingMiddleware
from api.http.startup import Startup
from api.http.storage_probe import StorageProbe
from api.models.registration import Registrar
from api.routes import (
    audit,
    checkpoints,
    console,
    deadlines,
    events,
    files,
    health,
    hub,
    jobs,
    keys,
    lineage,
    measurements,
    methods,
    models,
    policies,
    releases,
    reports,
    service,
    signing_keys,
    statements,
    webhooks,
)
from api.webhooks.address_rules import AddressRules
from api.webhooks.sender import WebhookSender
from core.queue import redis_py_url
from core.records.engine import make_engine
from core.records.events import CHANNEL
from core.records.notifications import Notifications
from core.settings import Settings
from core.settings import settings as environment_settings
from core.storage import open_storage
from core.storage.destroyed_files import move_keys, purge_destroyed
from core.storage.file_keys import FileKeys
from core.storage.key_store import open_key_store

DESCRIPTION = """\
Makes language models forget text, measures what is left, and keeps the evidence.

Errors are problem documents (RFC 9457). Lists come in pages, by `limit` and `after`. Every POST that creates something
takes an `Idempotency-Key`. Every answer has `X-Request-ID`, and `RateLimit` where the key's requests are limited.
"""

BROKER_SECONDS = 2.0
LISTENING = "unlearning api, listening"

log = structlog.get_logger()


def _log_disconnect(error: Exception) -> None:
    log.warning("notifications_lost", error=type(error).__name__)


def _create_context(settings: Settings, metrics: Metrics) -> Context:
    service_key = settings.service_key()
    engine = make_engine(settings.database_url.get_secret_value())
    # rows are read after their transaction has ended, so that answers show committed values
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    storage = open_storage(settings.storage_url, engine)
    broker = redis_py_url(settings.redis_url.get_secret_value())
    file_keys = FileKeys(service_key, open_key_store(settings.key_store_url, storage_url=settings.storage_url))
    registrar = Registrar(settings, sessions)

    async def reconcile_keys() -> None:
        moved = await move_keys(sessions, file_keys)
        purged = await purge_destroyed(sessions, storage, file_keys)
        if moved or purged:
            log.info("keys_reconciled", moved=moved, purged_again=purged)

    accept_keys = partial(add_operator_keys, operator_keys(settings), sessions=sessions, service_key=service_key)
    return Context(
        settings=settings,
        service_key=service_key,
        file_keys=file_keys,
        engine=engine,
        sessions=sessions,
        storage=storage,
        storage_probe=StorageProbe(storage),
        redis=Redis.from_url(broker, socket_timeout=BROKER_SECONDS, socket_connect_timeout=BROKER_SECONDS),
        job_notifications=Notifications(engine, CHANNEL, application=LISTENING, on_disconnect=_log_disconnect),
        caller_cache=CallerCache(),
        rate_limiter=RateLimiter(settings.rate_limit_per_minute),
        idempotency=Idempotency(sessions, service_key),
        metrics=metrics,
        registrar=registrar,
        webhook_rules=AddressRules.parse(settings.webhook_allow),
        startup=Startup([reconcile_keys, accept_keys, registrar.resume]),
    )


def create_app(settings: Settings) -> FastAPI:
    """Returns the app with these settings. It connects to the database when it starts, not here."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context = app.state.context = _create_context(settings, metrics)
        sender = WebhookSender(context.sessions, service_key=context.service_key, rules=context.webhook_rules)
        try:
            await context.startup.start()
            context.job_notifications.start()
            sender.start()
            yield
        finally:
            await sender.stop()
            await context.startup.stop()
            await context.registrar.stop()
            await context.job_notifications.stop()
            await context.redis.aclose()
            await context.engine.dispose()

    app = FastAPI(
        title="Unlearning service",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        # FastAPI's pages load scripts from another host, on the origin where people give the console their key
        docs_url=None,
        redoc_url=None,
        # behind a proxy the service sees plain HTTP, and a redirect would send the key there
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    add_exception_handlers(app)
    for routes in (
        files,
        models,
        lineage,
        methods,
        policies,
        jobs,
        deadlines,
        measurements,
        events,
        reports,
        checkpoints,
        releases,
        audit,
        hub,
        webhooks,
        keys,
        service,
        signing_keys,
        statements,
        health,
    ):
        app.include_router(routes.router)
    app.webhooks.include_router(webhooks.messages)
    if settings.console:
        app.include_router(console.router)
    # the last middleware that is added is the outermost
    app.add_middleware(
        BodyLimitMiddleware, max_body_bytes=settings.max_body_bytes, max_file_bytes=settings.max_file_bytes
    )
    app.add_middleware(RequestLoggingMiddleware, metrics=metrics)
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return app


def app_from_environment() -> FastAPI:
    """Factory for uvicorn: settings from the environment, logs as JSON lines on standard error."""
    settings = environment_settings()
    configure(settings.log_level)
    return create_app(settings)
