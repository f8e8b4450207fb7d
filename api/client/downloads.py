"""The download of a file whose size and sha256 are known: it goes on after a break, and is checked."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import httpx

from api.client.call import Call
from api.client.errors import DigestMismatch, NoAnswer, UnexpectedAnswer, UnlearningError
from api.client.part_file import close_before_renaming, resumed_part
from api.client.retries import may_repeat
from api.client.steps import Open, Pause, Read, Steps, Work
from core.schema.manifest import FileEntry

Received = Callable[[int], None]


def place(directory: Path, path: str) -> Path:
    """Returns the file's place below the directory. Raises UnexpectedAnswer for a path that leads out of it."""
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts or "\\" in path or "\0" in path:
        raise UnexpectedAnswer(f"the service names a file outside of the directory: {path!r}")
    return directory.joinpath(*relative.parts)


def download_file(url: str, target: Path, stated: FileEntry, received: Received) -> Steps[None]:
    """Downloads the file under a name that ends in `.part`, checks it, and gives it its own name.

    The name of the part holds the digest, so that a part of another version is not taken for a part of this one.
    Raises PartInUse.
    """
    if target.exists() and (yield Work(lambda: _sha256(target))) == stated.sha256:
        received(stated.bytes)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{stated.sha256[:12]}.part")
    with resumed_part(part) as sink:
        if sink.tell() > stated.bytes:
            _empty(sink)
        received(sink.tell())
        yield from _fill(sink, url, stated, received)
        sink.flush()
        found = yield Work(lambda: _sha256(part))
        close_before_renaming(sink)
        if found != stated.sha256:
            part.unlink()
            raise DigestMismatch(stated.path, stated=stated.sha256, found=found)
        part.replace(target)


def _fill(sink: BinaryIO, url: str, stated: FileEntry, received: Received) -> Steps[None]:
    """Appends the bytes that are missing, over as many connections as it takes."""
    furthest, failures = sink.tell(), 0
    while (size := sink.tell()) < stated.bytes:
        # a range of the same version only, and of the bytes themselves, not of a compressed form
        headers = {"Range": f"bytes={size}-", "If-Range": f'"{stated.sha256}"'} if size else {}
        call = Call("GET", url, headers={"Accept-Encoding": "identity", **headers})
        try:
            answer: httpx.Response = yield Open(call, follow_redirects=True)
            if size and answer.status_code != 206:
                _empty(sink)
                received(-size)
            while (piece := (yield Read())) is not None and sink.tell() <= stated.bytes:
                yield Work(partial(sink.write, piece))
                received(len(piece))
                if sink.tell() > furthest:
                    furthest, failures = sink.tell(), 0
            if sink.tell() == size:
                raise NoAnswer(f"no byte of {stated.path} came", sent=True)
        except UnlearningError as error:
            if not may_repeat(call, error):
                raise
            failures += 1
            yield Pause(failures, error)


def _empty(sink: BinaryIO) -> None:
    sink.seek(0)
    sink.truncate()


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
