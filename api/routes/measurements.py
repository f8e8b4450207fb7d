"""Measurements of models and checkpoints, without unlearning."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from api.dependencies import ContextDep, ModelsProbe
from api.http.idempotency import IdempotencyKey, body_digest
from api.http.json_body import JsonRoute
from api.http.pagination import DEFAULT_LIMIT, After, Limit, paginate
from api.http.problems import not_found, problem_responses
from api.http.serializers import json_response
from api.jobs.measure import MeasurementSubmission
from core.evaluation.presets import PRESET_NAMES, preset_table
from core.records import checkpoints, job_actions, jobs
from core.records.tables import JobRow
from core.schema.evaluation import MeasurementResult
from core.schema.jobs import Status
from core.schema.measurement_jobs import Measurement, MeasurementRequest
from core.schema.pages import Page

router = APIRouter(prefix="/v1/measurements", tags=["measurements"], route_class=JsonRoute)

EXAMPLES: dict[str, Any] = {
    "a checkpoint": {
        "summary": "What a checkpoint still knows of a text, compared with text that it never saw",
        "value": {
            "model": "demo",
            "from": "ckpt-01900000000070008000000000000000",
            "forget": {"records": ["Zorvek Halmi lives at 12 Pell Lane."]},
            "unseen": {"file": "file-0192…"},
            "measure": ["standard"],
        },
    }
}


@router.post(
    "",
    status_code=202,
    response_model=Measurement,
    summary="Measure a model",
    responses=problem_responses(403, 409, 413, 415),
)
async def submit_measurement(
    body: Annotated[MeasurementRequest, Body(openapi_examples=EXAMPLES)],
    request: Request,
    context: ContextDep,
    caller: ModelsProbe,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queues a measurement of a registered model or a checkpoint on the named files. It changes nothing.

    The workers run it as they run a job, but it waits for no job on the model, and no job waits for it. Measuring a
    checkpoint that is not released also needs `release:write`. Scope: `models:probe`.
    """
    submission = MeasurementSubmission(context, caller, body)

    async def create(session: AsyncSession) -> Response:
        row = await submission.write(session)
        return json_response(_serialize(row), 202, {"Location": f"/v1/measurements/{row.id}"})

    try:
        return await context.idempotency.run_once(request, caller, await body_digest(request), create)
    except Exception:
        await submission.discard()
        raise


@router.get("", summary="List measurements", responses=problem_responses())
async def list_measurements(
    context: ContextDep,
    caller: ModelsProbe,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
    status: Annotated[Status | None, Query(description="only measurements of this status")] = None,
    model: Annotated[str | None, Query(max_length=96, description="only measurements of this model")] = None,
) -> Page[Measurement]:
    """Lists measurements, newest first, without their figures. Scope: `models:probe`."""
    async with context.sessions() as session:
        rows = await jobs.page(
            session, caller.organisation, limit=limit + 1, after=after, kind="measure", status=status, model=model
        )
    return paginate(rows, limit, _serialize, item_id=lambda measurement: measurement.id)


@router.get("/{measurement}", summary="Get a measurement", responses=problem_responses(404))
async def get_measurement(measurement: str, context: ContextDep, caller: ModelsProbe) -> Measurement:
    """Returns its status and, once it has succeeded, its figures, which are aggregates over records.

    Scope: `models:probe`.
    """
    async with context.sessions() as session:
        row = _require_measurement(await jobs.get(session, caller.organisation, measurement))
        reason = await jobs.waiting_for(session, row, stale_seconds=context.stale_seconds)
        result_rows = await checkpoints.measurements(session, measurement)
    results = {result.moment: result.measurements for result in result_rows}
    return _serialize(row, reason, results if row.status == "succeeded" else {})


@router.post(
    "/{measurement}/cancel", status_code=202, summary="Cancel a measurement", responses=problem_responses(404, 409)
)
async def cancel_measurement(measurement: str, context: ContextDep, caller: ModelsProbe) -> Measurement:
    """Cancels it, at once while it waits, else as soon as its worker has stopped.

    409 where it has succeeded or is cancelled. Scope: `models:probe`.
    """
    async with context.sessions.begin() as session:
        _require_measurement(await jobs.get(session, caller.organisation, measurement))
        row = _require_measurement(await job_actions.cancel(session, caller.organisation, measurement, key=caller.key))
        await session.flush()
        await session.refresh(row)
    return _serialize(row)


def _require_measurement(row: JobRow | None) -> JobRow:
    if row is None or row.kind != "measure":
        raise not_found("measurement")
    return row


def _table(preset: str | None, after: Any) -> dict[str, float] | None:
    name = next((name for name in PRESET_NAMES if name == preset), None)
    if name is None or after is None:
        return None
    return preset_table(name, MeasurementResult.model_validate(after, extra="ignore"))


def _serialize(row: JobRow, waiting_for: str | None = None, results: Mapping[str, Any] | None = None) -> Measurement:
    """Returns the measurement, with its figures if `results` holds them."""
    url, results = f"/v1/measurements/{row.id}", results or {}
    columns = ["id", "status", "requested", "phase", "model", "start", "data", "measure", "retrained_model", "error"]
    columns += ["preset", "warnings", "estimate", "created_at", "started_at", "finished_at"]
    return Measurement.model_validate(
        {
            **{name: getattr(row, name) for name in columns},
            "reference_model": row.retrained_model,
            "waiting_for": waiting_for,
            "reading": {name: row.training[name] for name in ("max_length", "chat", "seed")},
            "measurements": results.get("after"),
            "retrained": results.get("retrained"),
            "reference": results.get("retrained"),
            "table": _table(row.preset, results.get("after")),
            "metadata": row.metadata_,
            "links": {"self": url, "cancel": f"{url}/cancel", "model": f"/v1/models/{row.model}"},
        }
    )
