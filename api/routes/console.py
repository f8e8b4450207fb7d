"""The console: a handful of static files, read once, served under a policy that lets the page talk to us alone."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parent.parent / "console"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Page:
    """One file of the console; `etag` is its sha256, quoted."""

    body: bytes
    type: str
    etag: str


def _read(folder: Path) -> dict[str, Page]:
    """The console's files by their path below the folder: no request ever becomes a path on the disk."""
    pages = {}
    for file in folder.rglob("*"):
        if file.suffix in TYPES:
            body = file.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()}"'
            pages[file.relative_to(folder).as_posix()] = Page(body, TYPES[file.suffix], etag)
    return pages


PAGES = _read(FOLDER)


def _answer(request: Request, name: str) -> Response:
    page = PAGES.get(name)
    if page is None:
        raise HTTPException(404)
    # asked for again each time, so that a new version of the service is never half an old console
    headers = POLICY | {"ETag": page.etag, "Cache-Control": "no-cache"}
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if page.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(page.body, media_type=page.type, headers=headers)


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    return _answer(request, "index.html")


@router.api_route("/console/{name:path}", methods=["GET", "HEAD"])
async def file(request: Request, name: str) -> Response:
    return _answer(request, name or "index.html")
