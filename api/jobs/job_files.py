"""Files of a job: those that the request names, the model's default files, and the checks on both."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from api.http.problems import unprocessable
from api.jobs.inline_records import InlineRecords
from core.records import files, jobs
from core.records.jobs import FileUse
from core.records.tables import FileRow, ModelRow
from core.schema.job_sources import RetainSource
from core.schema.jobs import JobRequest, Origin
from core.schema.measurement_jobs import MeasurementRequest
from core.schema.record import Record


@dataclass(frozen=True)
class RequestedFile:
    """A file for the job, with its field in the request and the purposes that it may have been uploaded for."""

    use: FileUse
    pointer: str
    purposes: tuple[str, ...]
    origin: Origin = "request"


@dataclass(frozen=True)
class JobFile:
    """A file of the job: the name of its set, its field in the request, and its records if they are inline."""

    set_name: str
    pointer: str
    row: FileRow
    records: Sequence[Record] | None = None


def unlearning_files(request: JobRequest, model: ModelRow) -> list[RequestedFile]:
    """Returns the files in order: those of the request, and the model's defaults for sets that it does not name.

    The model's default unseen and general files serve to measure only, whatever the request adds for training.
    """
    requested = []
    if request.forget.file is not None:
        requested.append(RequestedFile(FileUse(request.forget.file, "forget"), "/forget/file", ("forget",)))
    defaults: dict[str, str | None] = model.defaults
    retain = request.retain
    if retain is None and (default := defaults.get("retain")):
        retain = [RetainSource(file=default)]
    for number, source in enumerate(retain or []):
        pointer = f"/retain/{number}/file" if request.retain else "/retain"
        has_default = source.kind == "general" and defaults.get("general")
        use = FileUse(source.file, "retain", source.kind, source.weight, part="trains" if has_default else None)
        origin: Origin = "request" if request.retain else "model"
        requested.append(RequestedFile(use, pointer, ("retain", "general"), origin))
    requested += _unseen_files(None if request.unseen is None else request.unseen.file, defaults.get("unseen"))
    if default := defaults.get("general"):
        requested.append(RequestedFile(FileUse(default, "general"), "/model", ("general", "retain"), "model"))
    if request.probes is not None:
        requested.append(RequestedFile(FileUse(request.probes.file, "probes"), "/probes/file", ("probes",)))
    if default := defaults.get("probes"):
        requested.append(RequestedFile(FileUse(default, "protected"), "/model", ("probes",), "model"))
    return requested


def _unseen_files(request_file: str | None, default: str | None) -> list[RequestedFile]:
    """Returns the request's own unseen file and the model's; the own file only trains where the model has another."""
    requested = []
    if request_file is not None:
        use = FileUse(request_file, "unseen", part=None if default in (None, request_file) else "trains")
        requested.append(RequestedFile(use, "/unseen/file", ("unseen",)))
    if default not in (None, request_file):
        use = FileUse(default, "unseen", part=None if request_file is None else "measures")
        pointer = "/unseen" if request_file is None else "/model"
        requested.append(RequestedFile(use, pointer, ("unseen",), "model"))
    return requested


def measurement_files(request: MeasurementRequest) -> list[RequestedFile]:
    """Returns the files that the request names, in order."""
    requested = []
    if request.forget is not None and request.forget.file is not None:
        requested.append(RequestedFile(FileUse(request.forget.file, "forget"), "/forget/file", ("forget",)))
    for number, source in enumerate(request.retain or []):
        use = FileUse(source.file, "retain", "in_distribution")
        requested.append(RequestedFile(use, f"/retain/{number}/file", ("retain", "general")))
    single_files = (
        ("unseen", request.unseen, ("unseen",)),
        ("general", request.general, ("general", "retain")),
        ("probes", request.probes, ("probes",)),
        ("protected", request.protected, ("probes",)),
    )
    for set_name, file, purposes in single_files:
        if file is not None:
            requested.append(RequestedFile(FileUse(file.file, set_name), f"/{set_name}/file", purposes))
    return requested


async def lock_requested_files(
    session: AsyncSession, organisation: str, requested: Sequence[RequestedFile], *, lifetime: timedelta
) -> dict[str, FileRow]:
    """Locks the files' rows, extends their lifetime and returns them by id.

    Problem (422): a file does not exist, or was uploaded for another purpose.
    """
    ids = [file.use.file for file in requested]
    await files.extend_lifetime(session, organisation, ids, lifetime=lifetime)
    rows = await jobs.lock_files(session, organisation, ids)
    for file in requested:
        row = rows.get(file.use.file)
        if row is None:
            is_named = file.pointer.endswith("/file")
            detail = "there is no such file" if is_named else "the file that the model has as its default was deleted"
            raise unprocessable(file.pointer, detail, name="unknown-file")
        if row.purpose not in file.purposes:
            detail = f"the file was uploaded as '{row.purpose}', not as {' or '.join(file.purposes)}"
            raise unprocessable(file.pointer, detail, name="wrong-purpose")
    return rows


def list_job_files(
    requested: Sequence[RequestedFile], rows: dict[str, FileRow], inline: InlineRecords
) -> list[JobFile]:
    """Returns the job's files with their rows, inline records first."""
    job_files = [JobFile(file.use.name, file.pointer, rows[file.use.file]) for file in requested]
    if inline.file is not None:
        job_files.insert(0, JobFile("forget", "/forget/records", rows[inline.file], inline.records))
    return job_files
