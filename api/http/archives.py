"""A checkpoint as one archive, made while it is sent: nothing is copied or held beyond a piece."""

import tarfile
import time
import zipfile
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Literal

from core.schema.manifest import MANIFEST_NAME, FileEntry, canonical_json
from core.storage import Storage

ArchiveFormat = Literal["tar", "zip"]
BLOCK = tarfile.BLOCKSIZE
MEDIA_TYPES: dict[ArchiveFormat, str] = {"tar": "application/x-tar", "zip": "application/zip"}


class Archive:
    """All files of a checkpoint and its manifest.json, below one folder."""

    def __init__(
        self, storage: Storage, prefix: str, files: Sequence[FileEntry], *, folder: str, created_at: datetime
    ) -> None:
        self._storage = storage
        self._prefix = prefix
        self._manifest = canonical_json(files)
        self._files = list(files)
        self._folder = folder
        self._created_at = created_at

    def _members(self) -> list[tuple[str, int]]:
        return [(MANIFEST_NAME, len(self._manifest)), *((file.path, file.bytes) for file in self._files)]

    async def _content(self, path: str) -> AsyncIterator[bytes]:
        if path == MANIFEST_NAME:
            yield self._manifest
            return
        async for piece in self._storage.read(f"{self._prefix}/{path}"):
            yield piece

    def _tar_header(self, path: str, size: int) -> bytes:
        info = tarfile.TarInfo(f"{self._folder}/{path}")
        info.size, info.mtime, info.mode = size, int(self._created_at.timestamp()), 0o644
        return info.tobuf(tarfile.PAX_FORMAT)

    def tar_size(self) -> int:
        """How many bytes `tar` gives."""
        members = [len(self._tar_header(path, size)) + size + -size % BLOCK for path, size in self._members()]
        return sum(members) + 2 * BLOCK

    async def tar(self) -> AsyncIterator[bytes]:
        """POSIX pax format."""
        for path, size in self._members():
            yield self._tar_header(path, size)
            async for piece in self._content(path):
                yield piece
            yield bytes(-size % BLOCK)
        yield bytes(2 * BLOCK)

    async def zip(self) -> AsyncIterator[bytes]:
        """Stored, not compressed: weights do not compress. Sizes and checksums follow each file."""
        sink = _Sink()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            for path, size in self._members():
                stamp = time.gmtime(max(self._created_at.timestamp(), 315532800))  # zip knows no time before 1980
                info = zipfile.ZipInfo(f"{self._folder}/{path}", stamp[:6])
                info.external_attr = 0o644 << 16
                with archive.open(info, "w", force_zip64=size >= zipfile.ZIP64_LIMIT) as member:
                    async for piece in self._content(path):
                        member.write(piece)
                        yield sink.take()
        yield sink.take()


class _Sink:
    """A file that cannot be sought in: what was written is taken away at once."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What was not taken yet stays."""

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken
