"""The bytes of one file of a checkpoint."""

from datetime import timedelta
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers
from starlette.responses import Response

from api.auth import Caller
from api.dependencies import Context
from api.http.openapi import BINARY
from api.http.problems import Problem
from api.http.ranges import StoredFile, file_response
from core.records import audit
from core.records.tables import CheckpointFile, CheckpointRow

FILE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes", "content": {"application/octet-stream": BINARY}},
    206: {"description": "The requested range", "content": {"application/octet-stream": BINARY}},
    304: {"description": "The file has not changed since the ETag"},
    307: {"description": "The bytes are at `Location`, in the object store, for a short time"},
}
"""The answers of a route that sends a file, for its OpenAPI entry."""


def check_released(row: CheckpointRow, caller: Caller) -> None:
    """Raises Problem (403) where the checkpoint waits for its release and the caller may not release it."""
    if not row.released and not caller.has_scope("release:write"):
        detail = (
            "the checkpoint is not released: it waits until a second person with the scope release:write accepts it:"
            f" POST /v1/checkpoints/{row.id}/release"
        )
        raise Problem(403, "not-released", detail)


async def record_download(row: CheckpointRow, context: Context, caller: Caller, details: audit.Details) -> None:
    """Writes the download to the audit log."""
    async with context.sessions.begin() as session:
        await audit.append(session, caller.organisation, caller.key, "checkpoint.downloaded", row.id, details)


async def send_file(
    row: CheckpointRow, file_row: CheckpointFile, request: Request, context: Context, caller: Caller
) -> Response:
    """Returns the answer to a GET or HEAD of the file, and records what is sent.

    `check_released` has allowed the download.
    """
    file = StoredFile(f"{row.prefix}/{file_row.path}", file_row.size, file_row.sha256)
    is_head = request.method == "HEAD"
    response = None if is_head else await _redirect(file, request.headers, context)
    if response is None:
        response = await file_response(context.storage, file, request.headers, head=is_head)
    if not is_head and response.status_code in (200, 206, 307):
        part = response.status_code == 206 or (response.status_code == 307 and "range" in request.headers)
        await record_download(row, context, caller, {"path": file_row.path, "part": part})
    return response


async def _redirect(file: StoredFile, headers: Headers, context: Context) -> Response | None:
    """Returns the answer that sends the client to the object store; None: the service sends the bytes itself.

    The service answers validators, which name its own digest of the file, and scripts of pages, which browsers keep
    from other origins (Fetch Metadata, section 2.2).
    """
    lifetime = timedelta(seconds=context.settings.signed_url_seconds)
    is_script = headers.get("sec-fetch-mode", "navigate") != "navigate"
    if not lifetime or is_script or "if-none-match" in headers or "if-range" in headers:
        return None
    url = await context.storage.signed_url(file.key, lifetime)
    if url is None:
        return None
    # a cache must hand the URL neither to another client nor to this one after its end
    return Response(status_code=307, headers={**file.headers(), "Location": url, "Cache-Control": "no-store"})
