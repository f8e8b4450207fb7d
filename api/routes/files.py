"""Files of records: upload, list, download, delete."""

import hashlib
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response, StreamingResponse

from api.auth import Caller
from api.dependencies import Context, ContextDep, FilesRead, FilesWrite
from api.http.idempotency import IdempotencyKey
from api.http.openapi import BINARY
from api.http.pagination import DEFAULT_LIMIT, After, Limit, paginate
from api.http.problems import not_found, problem_responses
from api.http.ranges import prefetch_first_chunk
from api.http.serializers import json_response, serialize_file
from api.http.uploads import Upload, UploadForm
from core.records import audit, files
from core.records.tables import FileRow
from core.schema.files import PURPOSES, File, Purpose
from core.schema.ids import new_id
from core.schema.pages import Page
from core.storage.uploads import destroy_upload, discard_upload, read_upload, storage_key, store_upload

router = APIRouter(prefix="/v1/files", tags=["files"])

FILES = ".jsonl, .json, .txt, .csv, .tsv (each also with .gz or .zst), .parquet, .arrow or .feather"
FORM: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file", "purpose"],
                "properties": {
                    "file": {"type": "string", "format": "binary", "description": FILES},
                    "purpose": {"type": "string", "enum": list(PURPOSES)},
                },
            }
        }
    },
}


@router.post(
    "",
    status_code=201,
    response_model=File,
    summary="Upload a file of records",
    responses=problem_responses(400, 409, 413, 415),
    openapi_extra={"requestBody": FORM},
)
async def upload_file(
    request: Request, context: ContextDep, caller: FilesWrite, idempotency_key: IdempotencyKey = None
) -> Response:
    """Uploads a file. It is streamed, and every record is checked. A bad record gives a 422 with its line, and the
    service then stores nothing.

    Formats: JSON Lines or a JSON list (`{"text"}`, `{"prompt", "completion"}` or `{"messages"}`), .txt (one record per
    paragraph), and CSV, Parquet and Arrow with the same columns. Beside its text, a record may have `id`, `subject` and
    the fields of probes: `group`, `paraphrases` (of the prompt), `paraphrased_answer`, `wrong` (wrong answers) and
    `alternate`. A CSV cell holds a list as a JSON array. The service also reads other common record shapes (question
    and answer, Alpaca, ShareGPT, OpenAI's fine-tuning messages), separators and encodings: `understood` tells how it
    read the file, and which of that it guessed. Each file is stored encrypted, under a key of its own.
    Scope: `files:write`.
    """
    settings, file = context.settings, new_id("file")
    form = UploadForm(request, max_file_bytes=settings.max_file_bytes, max_record_bytes=settings.max_record_bytes)
    wrapped_key = await store_upload(context.storage, file, form.chunks(), context.file_keys)
    if form.upload is None:
        raise RuntimeError("an upload that was stored is complete")
    try:
        return await _create_file(request, context, caller, file, form.upload, wrapped_key)
    finally:
        async with context.sessions() as session:  # no row: a refusal, a replayed answer or a failed commit
            if await files.get(session, caller.organisation, file) is None:
                await discard_upload(context.storage, file, context.file_keys)


async def _create_file(
    request: Request, context: Context, caller: Caller, file: str, upload: Upload, wrapped_key: bytes | None
) -> Response:
    async def create(session: AsyncSession) -> Response:
        row = FileRow(
            id=file,
            organisation=caller.organisation,
            purpose=upload.purpose,
            filename=upload.filename,
            format=upload.format,
            size=upload.size,
            sha256=upload.sha256,
            records=upload.records,
            understood=upload.interpretation.model_dump(exclude_none=True),
            storage_key=storage_key(file),
            wrapped_key=wrapped_key,
        )
        lifetime = timedelta(hours=context.settings.unused_file_hours)
        await files.add(session, row, lifetime=lifetime, key=caller.key)
        return json_response(serialize_file(row), 201, {"Location": f"/v1/files/{file}"})

    # the digest is that of the form's content, since a repeated request has another multipart boundary
    content = f"{upload.purpose}\n{upload.filename}\n{upload.sha256}".encode()
    return await context.idempotency.run_once(request, caller, hashlib.sha256(content).digest(), create)


@router.get("", summary="List files", responses=problem_responses())
async def list_files(
    context: ContextDep,
    caller: FilesRead,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
    purpose: Annotated[Purpose | None, Query(description="only files of this purpose")] = None,
) -> Page[File]:
    """Lists files, newest first. Scope: `files:write`, `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        rows = await files.page(session, caller.organisation, limit=limit + 1, after=after, purpose=purpose)
    return paginate(rows, limit, serialize_file, item_id=lambda file: file.id)


@router.get("/{file}", summary="Get a file", responses=problem_responses(404))
async def get_file(file: str, context: ContextDep, caller: FilesRead) -> File:
    """Describes the file; its content is at `/content`. Scope: `files:write`, `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        row = await files.get(session, caller.organisation, file)
    if row is None:
        raise not_found("file")
    return serialize_file(row)


@router.get(
    "/{file}/content",
    summary="Download a file",
    response_class=Response,
    responses={
        **problem_responses(404),
        200: {"content": {"application/octet-stream": BINARY}, "description": "The bytes"},
    },
)
async def download_file(file: str, context: ContextDep, caller: FilesWrite) -> Response:
    """Returns the file as it was uploaded. It needs the scope of an upload, since it is the text itself.

    Scope: `files:write`.
    """
    async with context.sessions() as session:
        row = await files.get(session, caller.organisation, file)
    if row is None:
        raise not_found("file")
    chunks = await prefetch_first_chunk(read_upload(context.storage, row.id, row.wrapped_key, context.file_keys))
    async with context.sessions.begin() as session:
        await audit.append(session, caller.organisation, caller.key, "file.downloaded", row.id, {})
    headers = {"Content-Length": str(row.size), "Content-Disposition": f'attachment; filename="{row.id}.{row.format}"'}
    return StreamingResponse(chunks, 200, headers, "application/octet-stream")


@router.delete("/{file}", status_code=204, summary="Delete a file", responses=problem_responses(404, 409))
async def delete_file(file: str, context: ContextDep, caller: FilesWrite) -> None:
    """Destroys the file's key, then its bytes. Jobs keep an HMAC of its digest.

    409 while a job needs the file. Scope: `files:write`."""
    async with context.sessions.begin() as session:
        row = await files.remove(session, caller.organisation, file, blind=context.file_keys.blind, key=caller.key)
    if row is None:
        raise not_found("file")
    await destroy_upload(context.storage, row.id, context.file_keys)
