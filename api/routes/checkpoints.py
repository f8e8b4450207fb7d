"""Checkpoints: list, describe, download."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from api.auth import Caller
from api.dependencies import Context, ContextDep, JobsRead
from api.downloads.checkpoint_file import FILE_RESPONSES, check_released, record_download, send_file
from api.http.archives import MEDIA_TYPES, Archive, ArchiveFormat
from api.http.openapi import BINARY
from api.http.problems import not_found, problem_responses
from api.http.ranges import prefetch_first_chunk
from api.http.serializers import serialize_checkpoint, serialize_file_entry
from core.records import checkpoints, jobs
from core.records.tables import CheckpointRow
from core.schema.checkpoints import Checkpoint
from core.schema.pages import Page

router = APIRouter(tags=["checkpoints"])

Format = Annotated[ArchiveFormat, Query(description="the format of the archive; zip is not compressed either")]
ARCHIVE_RESPONSES: dict[int | str, dict[str, Any]] = {
    # client generators understand the first media type; the answer has one of the others
    200: {
        "description": "The archive",
        "content": {media_type: BINARY for media_type in ("application/octet-stream", *MEDIA_TYPES.values())},
    }
}


@router.get("/v1/jobs/{job}/checkpoints", summary="List a job's checkpoints", responses=problem_responses(404))
async def list_job_checkpoints(job: str, context: ContextDep, caller: JobsRead) -> Page[Checkpoint]:
    """Lists the checkpoints, newest first, always on one page. Scope: `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        if await jobs.get(session, caller.organisation, job) is None:
            raise not_found("job")
        rows = await checkpoints.list_for_job(session, caller.organisation, job)
        data = [serialize_checkpoint(row, await checkpoints.files(session, row.id)) for row in rows]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return Page(data=data, first_id=first, last_id=last, has_more=False)


@router.get("/v1/checkpoints/{checkpoint}", summary="Get a checkpoint", responses=problem_responses(404))
async def get_checkpoint(checkpoint: str, context: ContextDep, caller: JobsRead) -> Checkpoint:
    """Describes the checkpoint: its files with their digests, and the digest of all.

    Scope: `jobs:read` or `jobs:write`.
    """
    async with context.sessions() as session:
        row = await checkpoints.get(session, caller.organisation, checkpoint)
        if row is None:
            raise not_found("checkpoint")
        return serialize_checkpoint(row, await checkpoints.files(session, row.id))


@router.get(
    "/v1/checkpoints/{checkpoint}/files/{path:path}",
    summary="Download a file of a checkpoint",
    response_class=Response,
    responses={**problem_responses(404, 416), **FILE_RESPONSES},
)
async def download_checkpoint_file(
    checkpoint: str, path: str, request: Request, context: ContextDep, caller: JobsRead
) -> Response:
    """Supports `Range`, `If-Range` and `If-None-Match`; the `ETag` is the SHA-256.

    Scope: `jobs:read` or `jobs:write`.
    """
    return await _download_file(checkpoint, path, request, context, caller)


@router.head(
    "/v1/checkpoints/{checkpoint}/files/{path:path}",
    summary="Get a file's size and digest",
    response_class=Response,
    responses={**problem_responses(404, 416), **FILE_RESPONSES},
)
async def head_checkpoint_file(
    checkpoint: str, path: str, request: Request, context: ContextDep, caller: JobsRead
) -> Response:
    """Answers as GET does, without the bytes. Scope: `jobs:read` or `jobs:write`."""
    return await _download_file(checkpoint, path, request, context, caller)


async def _download_file(checkpoint: str, path: str, request: Request, context: Context, caller: Caller) -> Response:
    async with context.sessions() as session:
        row = await checkpoints.get(session, caller.organisation, checkpoint)
        if row is None:
            raise not_found("checkpoint")
        file_row = await checkpoints.file(session, checkpoint, path)
    check_released(row, caller)
    if file_row is None:
        raise not_found("file in the checkpoint")
    return await send_file(row, file_row, request, context, caller)


@router.get(
    "/v1/checkpoints/{checkpoint}/archive",
    summary="Download a checkpoint as one archive",
    response_class=Response,
    responses={**problem_responses(404), **ARCHIVE_RESPONSES},
)
async def download_checkpoint(
    checkpoint: str, context: ContextDep, caller: JobsRead, format: Format = "tar"
) -> Response:
    """Returns all files and manifest.json, as an archive that is built while it is sent.

    Scope: `jobs:read` or `jobs:write`.
    """
    async with context.sessions() as session:
        row = await checkpoints.get(session, caller.organisation, checkpoint)
    if row is None:
        raise not_found("checkpoint")
    return await _download_archive(row, context, caller, format)


@router.get(
    "/v1/jobs/{job}/archive",
    summary="Download a job's checkpoint as one archive",
    response_class=Response,
    responses={**problem_responses(404), **ARCHIVE_RESPONSES},
)
async def download_job_checkpoint(job: str, context: ContextDep, caller: JobsRead, format: Format = "tar") -> Response:
    """Returns the archive of the job's checkpoint; 404 while there is none. Scope: `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        if await jobs.get(session, caller.organisation, job) is None:
            raise not_found("job")
        rows = await checkpoints.list_for_job(session, caller.organisation, job)
    if not rows:
        raise not_found("checkpoint of this job yet")
    return await _download_archive(rows[0], context, caller, format)


async def _download_archive(row: CheckpointRow, context: Context, caller: Caller, format: ArchiveFormat) -> Response:
    check_released(row, caller)
    async with context.sessions() as session:
        files = [serialize_file_entry(file) for file in await checkpoints.files(session, row.id)]
    archive = Archive(context.storage, row.prefix, files, folder=row.id, created_at=row.created_at)
    headers = {"Content-Disposition": f'attachment; filename="{row.id}.{format}"'}
    if format == "tar":
        headers["Content-Length"] = str(archive.tar_size())
    chunks = await prefetch_first_chunk(archive.tar() if format == "tar" else archive.zip())
    await record_download(row, context, caller, {"format": format})
    return StreamingResponse(chunks, 200, headers, MEDIA_TYPES[format])
