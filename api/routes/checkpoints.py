"""Checkpoints: what they are, and their bytes."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from api.auth import Caller
from api.dependencies import Context, ContextDep, JobsRead
from api.http.archives import MEDIA_TYPES, Archive, ArchiveFormat
from api.http.openapi import BINARY
from api.http.problems import Problem, not_found, problem_responses
from api.http.ranges import StoredFile, file_response, prefetch_first_chunk
from api.http.serializers import serialize_checkpoint, serialize_file_entry
from core.records import checkpoints, jobs
from core.records.tables import CheckpointRow
from core.schema.checkpoints import Checkpoint
from core.schema.pages import Page

router = APIRouter(tags=["checkpoints"])

Format = Annotated[ArchiveFormat, Query(description="tar, or zip without compression")]
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes", "content": {"application/octet-stream": BINARY}},
    206: {"description": "The range", "content": {"application/octet-stream": BINARY}},
    304: {"description": "As the ETag says"},
}
ARCHIVE: dict[int | str, dict[str, Any]] = {
    # the first kind is the one that client generators know; what comes is one of the others
    200: {
        "description": "The archive",
        "content": {media_type: BINARY for media_type in ("application/octet-stream", *MEDIA_TYPES.values())},
    }
}


@router.get("/v1/jobs/{job}/checkpoints", summary="A job's checkpoints", responses=problem_responses(404))
async def list_job_checkpoints(job: str, context: ContextDep, caller: JobsRead) -> Page[Checkpoint]:
    """Newest first; there is always one page. Scope: `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        if await jobs.get(session, caller.organisation, job) is None:
            raise not_found("job")
        rows = await checkpoints.list_for_job(session, caller.organisation, job)
        data = [serialize_checkpoint(row, await checkpoints.files(session, row.id)) for row in rows]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return Page(data=data, first_id=first, last_id=last, has_more=False)


@router.get("/v1/checkpoints/{checkpoint}", summary="One checkpoint", responses=problem_responses(404))
async def get_checkpoint(checkpoint: str, context: ContextDep, caller: JobsRead) -> Checkpoint:
    """Its files with their digests, and the digest over all of them. Scope: `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        row = await checkpoints.get(session, caller.organisation, checkpoint)
        if row is None:
            raise not_found("checkpoint")
        return serialize_checkpoint(row, await checkpoints.files(session, row.id))


@router.get(
    "/v1/checkpoints/{checkpoint}/files/{path:path}",
    summary="One file of a checkpoint",
    response_class=Response,
    responses={**problem_responses(404, 416), **BYTES},
)
async def download_checkpoint_file(
    checkpoint: str, path: str, request: Request, context: ContextDep, caller: JobsRead
) -> Response:
    """With `Range`, `If-Range` and `If-None-Match`; `ETag` is the sha256. Scope: `jobs:read` or `jobs:write`."""
    return await _file(checkpoint, path, request, context, caller)


@router.head(
    "/v1/checkpoints/{checkpoint}/files/{path:path}",
    summary="One file's size and digest",
    response_class=Response,
    responses={**problem_responses(404, 416), **BYTES},
)
async def head_checkpoint_file(
    checkpoint: str, path: str, request: Request, context: ContextDep, caller: JobsRead
) -> Response:
    """What GET would answer, without the bytes. Scope: `jobs:read` or `jobs:write`."""
    return await _file(checkpoint, path, request, context, caller)


async def _file(checkpoint: str, path: str, request: Request, context: Context, caller: Caller) -> Response:
    async with context.sessions() as session:
        row = await checkpoints.get(session, caller.organisation, checkpoint)
        if row is None:
            raise not_found("checkpoint")
        found = await checkpoints.file(session, checkpoint, path)
    _may_have(row, caller)
    if found is None:
        raise not_found("file in the checkpoint")
    content = StoredFile(f"{row.prefix}/{found.path}", found.size, found.sha256)
    return await file_response(context.storage, content, request.headers, head=request.method == "HEAD")


@router.get(
    "/v1/checkpoints/{checkpoint}/archive",
    summary="A checkpoint as one archive",
    response_class=Response,
    responses={**problem_responses(404), **ARCHIVE},
)
async def download_checkpoint(
    checkpoint: str, context: ContextDep, caller: JobsRead, format: Format = "tar"
) -> Response:
    """All files and manifest.json, made while it is sent. Scope: `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        row = await checkpoints.get(session, caller.organisation, checkpoint)
    if row is None:
        raise not_found("checkpoint")
    return await _archive(row, context, caller, format)


@router.get(
    "/v1/jobs/{job}/archive",
    summary="A job's checkpoint as one archive",
    response_class=Response,
    responses={**problem_responses(404), **ARCHIVE},
)
async def download_job_checkpoint(job: str, context: ContextDep, caller: JobsRead, format: Format = "tar") -> Response:
    """The same by the job; 404 while it has no checkpoint. Scope: `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        if await jobs.get(session, caller.organisation, job) is None:
            raise not_found("job")
        rows = await checkpoints.list_for_job(session, caller.organisation, job)
    if not rows:
        raise not_found("checkpoint of this job yet")
    return await _archive(rows[0], context, caller, format)


def _may_have(row: CheckpointRow, caller: Caller) -> None:
    if not row.released and not caller.has_scope("release:write"):
        detail = (
            "the checkpoint is not released: it waits until a second person with the scope release:write accepts it:"
            f" POST /v1/checkpoints/{row.id}/release"
        )
        raise Problem(403, "not-released", detail)


async def _archive(row: CheckpointRow, context: Context, caller: Caller, format: ArchiveFormat) -> Response:
    _may_have(row, caller)
    async with context.sessions() as session:
        files = [serialize_file_entry(file) for file in await checkpoints.files(session, row.id)]
    made = Archive(context.storage, row.prefix, files, folder=row.id, created_at=row.created_at)
    headers = {"Content-Disposition": f'attachment; filename="{row.id}.{format}"'}
    if format == "tar":
        headers["Content-Length"] = str(made.tar_size())
    pieces = await prefetch_first_chunk(made.tar() if format == "tar" else made.zip())
    return StreamingResponse(pieces, 200, headers, MEDIA_TYPES[format])
