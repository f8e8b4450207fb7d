"""A checkpoint as one archive, built while it is sent, in the memory of one chunk and without a copy on disk."""

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
    """All files of a checkpoint and its manifest.json, in one folder."""

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
        async for chunk in self._storage.read(f"{self._prefix}/{path}"):
            yield chunk

    def _tar_header(self, path: str, size: int) -> bytes:
        info = tarfile.TarInfo(f"{self._folder}/{path}")
        info.size, info.mtime, info.mode = size, int(self._created_at.timestamp()), 0o644
        return info.tobuf(tarfile.PAX_FORMAT)

    def tar_size(self) -> int:
        """Returns the size in bytes of the archive that `tar` yields."""
        sizes = [len(self._tar_header(path, size)) + size + -size % BLOCK for path, size in self._members()]
        return sum(sizes) + 2 * BLOCK

    async def tar(self) -> AsyncIterator[bytes]:
        """Yields the archive in POSIX pax format."""
        for path, size in self._members():
            yield self._tar_header(path, size)
            async for chunk in self._content(path):
                yield chunk
            yield bytes(-size % BLOCK)
        yield bytes(2 * BLOCK)

    async def zip(self) -> AsyncIterator[bytes]:
        """Yields the archive, uncompressed, since weights do not compress. Sizes and checksums follow each file."""
        buffer = _WriteBuffer()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for path, size in self._members():
                date = time.gmtime(max(self._created_at.timestamp(), 315532800))  # zip has no dates before 1980
                info = zipfile.ZipInfo(f"{self._folder}/{path}", date[:6])
                info.external_attr = 0o644 << 16
                with archive.open(info, "w", force_zip64=size >= zipfile.ZIP64_LIMIT) as member:
                    async for chunk in self._content(path):
                        member.write(chunk)
                        yield buffer.take()
        yield buffer.take()


class _WriteBuffer:
    """A file for ZipFile to write to, without seeking. `take` returns and removes its content."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._chunks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Does nothing: `take` returns whatever was written."""

    def close(self) -> None:
        """Does nothing: `take` also returns what was written last."""

    def take(self) -> bytes:
        content, self._chunks = b"".join(self._chunks), []
        return content
