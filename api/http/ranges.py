"""Downloads of stored files: ranges, validators and digests (RFC 9110, sections 13 and 14; RFC 9530)."""

import base64
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from api.http.problems import Problem
from core.storage import NotStored, Storage

RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


@dataclass(frozen=True)
class StoredFile:
    """A file in the storage; `sha256`, in hex, is its strong validator."""

    key: str
    size: int
    sha256: str

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'

    def headers(self) -> dict[str, str]:
        return {
            "ETag": self.etag,
            "Accept-Ranges": "bytes",
            "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(self.sha256)).decode()}:",
            "Cache-Control": "private, no-cache",
        }


def etag_matches(if_none_match: str | None, etag: str) -> bool:
    """Returns whether an If-None-Match header names this ETag, by weak comparison."""
    if if_none_match is None:
        return False
    etags = [value.strip().removeprefix("W/") for value in if_none_match.split(",")]
    return "*" in etags or etag in etags


def requested_range(headers: Headers, file: StoredFile) -> tuple[int, int] | None:
    """Returns the requested bytes as [start, end), or None for the whole file.

    Several ranges, other units and invalid ranges may be ignored, and are; so is a range whose If-Range names another
    version. Problem: 416 where the range begins behind the end.
    """
    match = RANGE.fullmatch(headers.get("range", "").strip())
    if_range = headers.get("if-range")
    if match is None or (if_range is not None and if_range != file.etag):
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:  # `last` counts from the end
        start, end = max(0, file.size - int(last)), file.size
    else:
        start, end = int(first), min(int(last) + 1 if last else file.size, file.size)
        if last and int(last) < int(first):
            return None
    if start >= file.size or start >= end:
        raise Problem(
            416,
            "range-not-satisfiable",
            f"the file has {file.size} bytes",
            headers={"Content-Range": f"bytes */{file.size}", "Accept-Ranges": "bytes"},
        )
    return start, end


async def file_response(storage: Storage, file: StoredFile, headers: Headers, *, head: bool) -> Response:
    """Returns 200, 206 or 304; the body is streamed from the storage. Problem: 404, 416."""
    response_headers = file.headers()
    if etag_matches(headers.get("if-none-match"), file.etag):
        return Response(status_code=304, headers=response_headers)
    byte_range = requested_range(headers, file)
    start, end = byte_range or (0, file.size)
    response_headers["Content-Length"] = str(end - start)
    if byte_range is not None:
        response_headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    status = 206 if byte_range is not None else 200
    media_type = "application/octet-stream"
    if head:
        return Response(status_code=status, headers=response_headers, media_type=media_type)
    chunks = await prefetch_first_chunk(storage.read(file.key, start, end))
    return StreamingResponse(chunks, status, response_headers, media_type)


async def prefetch_first_chunk(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Reads the first chunk now, so that missing bytes give a 404 instead of an aborted answer; returns all chunks."""
    try:
        first = await anext(chunks, b"")
    except NotStored:
        raise Problem(404, "not-found", "the bytes are gone") from None

    async def all_chunks() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_chunks()
