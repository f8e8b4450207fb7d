"""One file of a checkpoint over HTTP: ranges, validators and digests (RFC 9110, sections 13 and 14; RFC 9530)."""

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
class Content:
    """What is to be sent; `sha256` in hex is its strong validator."""

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


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match names this ETag; weakness does not matter there."""
    if header is None:
        return False
    names = [name.strip().removeprefix("W/") for name in header.split(",")]
    return "*" in names or etag in names


def requested_range(headers: Headers, content: Content) -> tuple[int, int] | None:
    """[start, end) as asked for, or None: the whole, since several ranges, other units and nonsense may be ignored.

    Problem: 416 where the range begins behind the end. An If-Range that names another representation voids the range.
    """
    given = RANGE.fullmatch(headers.get("range", "").strip())
    condition = headers.get("if-range")
    if given is None or (condition is not None and condition != content.etag):
        return None
    first, last = given.groups()
    if not first and not last:
        return None
    if not first:  # the last so many bytes
        start, end = max(0, content.size - int(last)), content.size
    else:
        start, end = int(first), min(int(last) + 1 if last else content.size, content.size)
        if last and int(last) < int(first):
            return None
    if start >= content.size or start >= end:
        raise Problem(
            416,
            "range-not-satisfiable",
            f"the file has {content.size} bytes",
            headers={"Content-Range": f"bytes */{content.size}", "Accept-Ranges": "bytes"},
        )
    return start, end


async def send(storage: Storage, content: Content, headers: Headers, *, head: bool) -> Response:
    """200, 206 or 304; the body is streamed from the storage as it comes. Problem: 404, 416."""
    answer = content.headers()
    if matches(headers.get("if-none-match"), content.etag):
        return Response(status_code=304, headers=answer)
    wanted = requested_range(headers, content)
    start, end = wanted or (0, content.size)
    answer["Content-Length"] = str(end - start)
    if wanted is not None:
        answer["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
    status = 206 if wanted is not None else 200
    media_type = "application/octet-stream"
    if head:
        return Response(status_code=status, headers=answer, media_type=media_type)
    pieces = await with_first_piece(storage.read(content.key, start, end))
    return StreamingResponse(pieces, status, answer, media_type)


async def with_first_piece(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, the first one read already, so that missing bytes are a 404 and not a broken answer."""
    try:
        first = await anext(pieces, b"")
    except NotStored:
        raise Problem(404, "not-found", "the bytes are gone") from None

    async def again() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return again()
