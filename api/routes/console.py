"""The console: static files, read once, with a content security policy that allows requests to this service only."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parent.parent / "console"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
SECURITY_HEADERS = {
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
class ConsoleFile:
    """A file of the console; `etag` is its SHA-256 in quotes."""

    body: bytes
    media_type: str
    etag: str


def _read(folder: Path) -> dict[str, ConsoleFile]:
    """Returns the files by their path below the folder, so that no request becomes a path on disk."""
    files = {}
    for file in folder.rglob("*"):
        if file.suffix in MEDIA_TYPES:
            body = file.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()}"'
            files[file.relative_to(folder).as_posix()] = ConsoleFile(body, MEDIA_TYPES[file.suffix], etag)
    return files


FILES = _read(FOLDER)


def _respond(request: Request, name: str) -> Response:
    file = FILES.get(name)
    if file is None:
        raise HTTPException(404)
    # browsers revalidate each file, so that a new version of the service is never mixed with an old console
    headers = SECURITY_HEADERS | {"ETag": file.etag, "Cache-Control": "no-cache"}
    known_etags = [etag.strip().removeprefix("W/") for etag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known_etags:
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    return _respond(request, "index.html")


@router.api_route("/console/{name:path}", methods=["GET", "HEAD"])
async def file(request: Request, name: str) -> Response:
    return _respond(request, name or "index.html")
