"""Liveness, readiness and metrics, for load balancers and Prometheus, without a key."""

import asyncio
from typing import Literal

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from api.dependencies import Context, ContextDep
from api.http.storage_probe import StorageState
from core.records.migrate import is_current
from core.records.service_stats import read_service_stats

router = APIRouter(tags=["health"])

CHECK_SECONDS = 2.0

State = Literal["ok", "unreachable", "not_migrated"]


class Liveness(BaseModel):
    """The answer of `GET /healthz`."""

    status: Literal["ok"] = Field(default="ok", description="always `ok`")


class Readiness(BaseModel):
    """The answer of `GET /readyz`."""

    ready: bool = Field(description="whether requests can be served")
    database: State = Field(description="whether the database can be reached and is migrated to this version")
    storage: StorageState = Field(description="whether files and checkpoints can be written")
    broker: State = Field(description="for information only: jobs are accepted while the broker is down")


@router.get("/healthz", summary="Whether the process is alive")
async def get_health() -> Liveness:
    """Answers as long as the process runs, and checks nothing else."""
    return Liveness()


@router.get(
    "/readyz",
    summary="Whether requests can be served",
    response_model=Readiness,
    responses={
        503: {"description": "The database or the storage cannot be used: the answer says which", "model": Readiness}
    },
)
async def get_readiness(context: ContextDep) -> Response:
    """Answers 200 if the database can be reached and is migrated to this version, and if a write to the storage
    succeeds (tried every few seconds). Also shows the state of the broker."""
    database, storage, broker = await asyncio.gather(
        _database_state(context), context.storage_probe.state(), _broker_state(context)
    )
    ready = database == "ok" and storage == "ok" and context.startup.complete
    readiness = Readiness(ready=ready, database=database, storage=storage, broker=broker)
    return JSONResponse(readiness.model_dump(), 200 if readiness.ready else 503)


async def _database_state(context: Context) -> State:
    try:
        current = await asyncio.wait_for(is_current(context.engine), CHECK_SECONDS)
    except (SQLAlchemyError, OSError, TimeoutError):
        return "unreachable"
    return "ok" if current else "not_migrated"


async def _broker_state(context: Context) -> State:
    try:
        await asyncio.wait_for(context.redis.ping(), CHECK_SECONDS)
    except (RedisError, OSError, TimeoutError):
        return "unreachable"
    return "ok"


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"}},
)
async def get_prometheus_metrics(context: ContextDep) -> Response:
    """Returns the requests of this process, and the waiting and running jobs, unsent job hints and workers of the whole
    service."""
    async with context.sessions() as session:
        stats = await read_service_stats(session, stale_seconds=context.stale_seconds)
    return Response(context.metrics.render(stats), media_type=CONTENT_TYPE_LATEST)
