"""The interface: objects under keys, written whole or not at all, read in pieces."""

import re
from collections.abc import AsyncIterable, AsyncIterator
from datetime import timedelta
from typing import Protocol

from core.schema.errors import DomainError

CHUNK_BYTES = 1 << 20
"""Bytes that are in memory at a time, more or less."""

SEGMENT = re.compile(r"[A-Za-z0-9._+=@-]+")
LONGEST_KEY = 1024


class StorageError(Exception):
    """What the storage cannot do. Names keys, never contents, credentials or places on the server."""


class BadKey(StorageError):
    """A key that is not segments of letters, digits and `._+=@-` between single slashes, or that climbs."""


class NotStored(StorageError):
    """There is no complete object under this key, or it was replaced or deleted while it was read."""


class StorageFull(StorageError, DomainError):
    """There is no room for what is to be written, or the quota is used up. Nothing of it is visible."""

    status, problem = 507, "storage-full"
    detail = (
        "the service's disk or storage is full and nothing was kept: the operator must make room, then send it again"
    )


class StorageUnavailable(StorageError, DomainError):
    """The storage cannot be reached, or refuses to be read or written."""

    status, problem, retry_after = 503, "storage-unavailable", 10.0
    detail = "the storage of files and checkpoints cannot be used; the service's log says why: try again later"


class StorageUrlError(StorageError):
    """`STORAGE_URL` names no place that bytes can be put."""


class Storage(Protocol):
    """Bytes under keys such as `checkpoints/job-…/3/model.safetensors`.

    An object is visible when it is complete and not before; writing a key again replaces it, and of several writers
    the last to finish wins. `a` and `a/b` are never objects at the same time. A key that is not in order raises BadKey.
    """

    async def write(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """Stores the chunks, of whatever sizes, and returns how many bytes they were.

        If `chunks` raises, nothing is visible, what was there before still is, and the error comes through; likewise
        where there is no room (StorageFull) or the storage fails (StorageUnavailable)."""
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end), as a slice would cut them, in pieces of a few MiB at most.

        Raises NotStored at the first piece where there is no such object; ValueError for a negative bound."""
        ...

    async def size(self, key: str) -> int | None:
        """The object's bytes; None where there is none."""
        ...

    async def delete(self, key: str) -> None:
        """Deletes the object and all objects below it (`a` takes `a/b` with it, not `ab`). None there: no error."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        """Key and bytes of all objects below a prefix (`a` lists `a/b`, neither `a` nor `ab`); no order is promised."""
        ...

    async def delete_unfinished(self, older_than: timedelta) -> int:
        """Deletes what uploads left that crashed so long ago, and returns how many there were."""
        ...


def validated_key(key: str) -> str:
    """The key, or BadKey."""
    segments = key.split("/")
    if len(key) > LONGEST_KEY or any(SEGMENT.fullmatch(one) is None or one in (".", "..") for one in segments):
        raise BadKey("a storage key is segments of letters, digits and ._+=@- between single slashes")
    return key


def clamped_range(start: int, end: int | None, size: int) -> tuple[int, int]:
    """[start, end) within an object of `size` bytes; empty where they cross."""
    if start < 0 or (end is not None and end < 0):
        raise ValueError("a range's bounds count from the start of the object")
    end = size if end is None else min(end, size)
    return min(start, end), end


async def single_chunk(data: bytes) -> AsyncIterator[bytes]:
    """Yields the bytes in one piece."""
    yield data


async def rechunk(chunks: AsyncIterable[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of exactly `size`, the last one shorter (and none at all for no bytes)."""
    pending = bytearray()
    async for chunk in chunks:
        view = memoryview(chunk)
        while len(view):
            taken = min(size - len(pending), len(view))
            pending += view[:taken]
            view = view[taken:]
            if len(pending) == size:
                yield bytes(pending)
                pending.clear()
    if pending:
        yield bytes(pending)
