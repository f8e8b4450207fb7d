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
        "summary": "what a checkpoint gives back of a text, beside text that it never saw",
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
    """Queues a measurement of a registered model or a checkpoint on the files that are named, and changes nothing.

    It is done as a job is, by the same workers and code, but waits for no job on the model and holds none up. A
    checkpoint that is not released is measured for the scope `release:write` alone. Scope: `models:probe`.
    """
    submission = MeasurementSubmission(context, caller, body)

    async def create(session: AsyncSession) -> Response:
        row = await submission.write(session)
        return json_response(view(row), 202, {"Location": f"/v1/measurements/{row.id}"})

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
    status: Annotated[Status | None, Query(description="only those of this status")] = None,
    model: Annotated[str | None, Query(max_length=96, description="only those on this model")] = None,
) -> Page[Measurement]:
    """Newest first, without their figures. Scope: `models:probe`."""
    async with context.sessions() as session:
        rows = await jobs.page(
            session, caller.organisation, limit=limit + 1, after=after, kind="measure", status=status, model=model
        )
    return paginate(rows, limit, view, item_id=lambda one: one.id)


@router.get("/{measurement}", summary="One measurement", responses=problem_responses(404))
async def get_measurement(measurement: str, context: ContextDep, caller: ModelsProbe) -> Measurement:
    """Its status and, once it has succeeded, its figures: aggregates over records. Scope: `models:probe`."""
    async with context.sessions() as session:
        row = _one(await jobs.get(session, caller.organisation, measurement))
        reason = await jobs.waiting_for(session, row, stale_seconds=context.stale_seconds)
        measured = {one.moment: one.measurements for one in await checkpoints.measurements(session, measurement)}
    return view(row, reason, measured if row.status == "succeeded" else {})


@router.post(
    "/{measurement}/cancel", status_code=202, summary="Cancel a measurement", responses=problem_responses(404, 409)
)
async def cancel_measurement(measurement: str, context: ContextDep, caller: ModelsProbe) -> Measurement:
    """At once while it waits, else when its worker has let go. 409 where it is over. Scope: `models:probe`."""
    async with context.sessions.begin() as session:
        _one(await jobs.get(session, caller.organisation, measurement))
        row = _one(await job_actions.cancel(session, caller.organisation, measurement))
        await session.flush()
        await session.refresh(row)
    return view(row)


def _one(row: JobRow | None) -> JobRow:
    if row is None or row.kind != "measure":
        raise not_found("measurement")
    return row


def _table(preset: str | None, after: Any) -> dict[str, float] | None:
    name = next((name for name in PRESET_NAMES if name == preset), None)
    if name is None or after is None:
        return None
    return preset_table(name, MeasurementResult.model_validate(after, extra="ignore"))


def view(row: JobRow, waiting_for: str | None = None, measured: Mapping[str, Any] | None = None) -> Measurement:
    """The row as it is shown, with its figures where they are at hand."""
    here, found = f"/v1/measurements/{row.id}", measured or {}
    same = ["id", "status", "requested", "phase", "model", "start", "data", "measure", "retrained_model", "error"]
    same += ["preset", "warnings", "estimate", "created_at", "started_at", "finished_at"]
    return Measurement.model_validate(
        {
            **{name: getattr(row, name) for name in same},
            "reference_model": row.retrained_model,
            "waiting_for": waiting_for,
            "reading": {name: row.training[name] for name in ("max_length", "chat", "seed")},
            "measurements": found.get("after"),
            "retrained": found.get("retrained"),
            "reference": found.get("retrained"),
            "table": _table(row.preset, found.get("after")),
            "metadata": row.metadata_,
            "links": {"self": here, "cancel": f"{here}/cancel", "model": f"/v1/models/{row.model}"},
        }
    )
