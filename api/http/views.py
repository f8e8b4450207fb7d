"""From rows to what the API shows."""

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
from core.schema.jobs import Job, MethodUsed, Progress
from core.schema.manifest import FileEntry
from core.schema.models import Model


def answer(content: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The model as JSON, by pydantic's own serializer."""
    return Response(content.model_dump_json(by_alias=True), status, headers, media_type="application/json")


def file(row: FileRow) -> File:
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


def model(row: ModelRow) -> Model:
    fields = ("id", "source", "revision", "digest", "dtype", "status", "error", "shape", "defaults", "release", "head")
    same = {name: getattr(row, name) for name in (*fields, "training_tokens", "created_at")}
    return Model.model_validate({**same, "policy": row.policy or DEFAULT_POLICY.name})


def job(row: JobRow, waiting_for: str | None = None) -> Job:
    here = f"/v1/jobs/{row.id}"
    links = {
        name: f"{here}/{name}" for name in ("events", "metrics", "checkpoints", "cancel", "pause", "resume", "retry")
    }
    links |= {"self": here, "model": f"/v1/models/{row.model}"}
    if row.checkpoint is not None:
        links |= {"checkpoint": f"/v1/checkpoints/{row.checkpoint}", "archive": f"{here}/archive"}
    same = ["id", "kind", "status", "requested", "phase", "outcome", "model", "start", "training", "output", "data"]
    same += [
        "verdict",
        "checkpoint",
        "released",
        "error",
        "warnings",
        "estimate",
        "attempts",
        "external_reference",
        "due",
    ]
    same += ["retrained_model", "submitter", "created_at", "started_at", "finished_at"]
    return Job.model_validate(
        {
            **{name: getattr(row, name) for name in same},
            "reference": row.external_reference,
            "reference_model": row.retrained_model,
            "progress": progress(row),
            "waiting_for": waiting_for,
            "method": MethodUsed(name=row.method, parameters=row.parameters),
            "evaluation": {"measure": row.measure, "policy": (row.policy or {}).get("name")},
            "metadata": row.metadata_,
            "links": links,
        }
    )


def progress(row: JobRow) -> Progress | None:
    """How far the job is; None where nothing is known of that."""
    if row.step is None and row.fraction is None:
        return None
    trained = min(1.0, (row.step or 0) / row.steps) if row.steps else 0.0
    fraction = trained if row.fraction is None else row.fraction
    if row.status == "succeeded":
        fraction = 1.0
    return Progress(step=row.step or 0, steps=row.steps, fraction=fraction, eta=row.eta_seconds)


def event(row: EventRow) -> Event:
    return Event(seq=row.seq, type=row.type, data=row.data, created_at=row.created_at)


def entry(row: CheckpointFile) -> FileEntry:
    return FileEntry(path=row.path, bytes=row.size, sha256=row.sha256)


def checkpoint(row: CheckpointRow, files: Sequence[CheckpointFile]) -> Checkpoint:
    same = ("id", "job", "step", "method", "digest", "verdict", "released", "released_by", "released_at", "created_at")
    return Checkpoint.model_validate(
        {
            **{name: getattr(row, name) for name in same},
            "base_model": row.model,
            "bytes": row.size,
            "files": [entry(one) for one in files],
        }
    )
