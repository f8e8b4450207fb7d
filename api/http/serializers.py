"""The API's schemas out of database rows, and JSON responses out of schemas."""

from collections.abc import Sequence
from typing import cast

from pydantic import BaseModel
from starlette.responses import Response

from core.records.tables import CheckpointFile, CheckpointRow, EventRow, FileRow, JobRow, ModelRow
from core.schema.checkpoints import Checkpoint
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.events import Event
from core.schema.file_interpretation import FileInterpretation
from core.schema.files import File, FileFormat, Purpose
from core.schema.jobs import TERMINAL, Job, MethodUsed, Progress
from core.schema.manifest import FileEntry
from core.schema.models import Model


def json_response(content: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Returns the content as JSON, written by pydantic's own serializer."""
    return Response(content.model_dump_json(by_alias=True), status, headers, media_type="application/json")


def serialize_file(row: FileRow) -> File:
    return File(
        id=row.id,
        purpose=cast(Purpose, row.purpose),
        filename=row.filename,
        format=cast(FileFormat, row.format),
        bytes=row.size,
        sha256=row.sha256,
        records=row.records,
        understood=None if row.understood is None else FileInterpretation.model_validate(row.understood),
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def serialize_model(row: ModelRow) -> Model:
    fields = ("id", "source", "revision", "digest", "dtype", "status", "error", "shape", "defaults", "release", "head")
    columns = {name: getattr(row, name) for name in (*fields, "training_tokens", "created_at")}
    return Model.model_validate({**columns, "policy": row.policy or DEFAULT_POLICY.name})


def serialize_job(row: JobRow, waiting_for: str | None = None) -> Job:
    url = f"/v1/jobs/{row.id}"
    links = {
        name: f"{url}/{name}"
        for name in ("events", "metrics", "checkpoints", "cancel", "pause", "resume", "retry", "extend")
    }
    links |= {"self": url, "model": f"/v1/models/{row.model}"}
    if row.webhook_url is not None:
        links["deliveries"] = f"/v1/webhooks/deliveries?job={row.id}"
    if row.checkpoint is not None:
        links |= {"checkpoint": f"/v1/checkpoints/{row.checkpoint}", "archive": f"{url}/archive"}
    if row.status in TERMINAL:
        links |= {"report": f"{url}/report"}
    columns = ["id", "kind", "status", "requested", "phase", "outcome", "model", "start", "training", "output", "data"]
    columns += ["verdict", "checkpoint", "released", "error", "warnings", "estimate", "attempts", "external_reference"]
    columns += ["shared_run", "retrained_model", "submitter", "received_at", "due", "extensions"]
    columns += ["created_at", "started_at", "finished_at"]
    return Job.model_validate(
        {
            **{name: getattr(row, name) for name in columns},
            "combine": row.combine_key is not None,
            "reference": row.external_reference,
            "reference_model": row.retrained_model,
            "progress": serialize_progress(row),
            "waiting_for": waiting_for,
            "method": MethodUsed(name=row.method, parameters=row.parameters),
            "evaluation": {"measure": row.measure, "policy": (row.policy or {}).get("name")},
            "webhook": None if row.webhook_url is None else {"url": row.webhook_url},
            "metadata": row.metadata_,
            "links": links,
        }
    )


def serialize_progress(row: JobRow) -> Progress | None:
    """Returns how far the job is; None: the job has not reported any progress."""
    if row.step is None and row.fraction is None:
        return None
    trained = min(1.0, (row.step or 0) / row.steps) if row.steps else 0.0
    fraction = trained if row.fraction is None else row.fraction
    if row.status == "succeeded":
        fraction = 1.0
    return Progress(step=row.step or 0, steps=row.steps, fraction=fraction, eta=row.eta_seconds)


def serialize_event(row: EventRow) -> Event:
    return Event(seq=row.seq, type=row.type, data=row.data, created_at=row.created_at)


def serialize_file_entry(row: CheckpointFile) -> FileEntry:
    return FileEntry(path=row.path, bytes=row.size, sha256=row.sha256)


def serialize_checkpoint(row: CheckpointRow, files: Sequence[CheckpointFile]) -> Checkpoint:
    columns = (
        "id",
        "job",
        "step",
        "method",
        "digest",
        "verdict",
        "released",
        "released_by",
        "released_at",
        "created_at",
    )
    return Checkpoint.model_validate(
        {
            **{name: getattr(row, name) for name in columns},
            "base_model": row.model,
            "bytes": row.size,
            "files": [serialize_file_entry(file) for file in files],
        }
    )
