"""The storage interface: objects under keys, written whole or not at all, read in pieces."""

import re
from collections.abc import AsyncIterable, AsyncIterator
from datetime import timedelta
from typing import Protocol

from core.schema.errors import DomainError

CHUNK_BYTES = 1 << 20
"""About how many bytes are in memory at a time."""

SEGMENT = re.compile(r"[A-Za-z0-9._+=@-]+")
LONGEST_KEY = 1024


class StorageError(Exception):
    """An operation that the storage cannot do. Messages name keys, never contents, credentials or server paths."""


class BadKey(StorageError):
    """A key that is not segments of letters, digits and `._+=@-` between single slashes, or that has `.` or `..`."""


class NotStored(StorageError):
    """There is no complete object under this key, or the object was replaced or deleted while it was read."""


class StorageFull(StorageError, DomainError):
    """There is no room for the object, or the quota is used up. Nothing of the object is visible."""

    status, problem = 507, "storage-full"
    detail = (
        "the service's disk or storage is full and nothing was kept: the operator must make room, then send it again"
    )


class StorageUnavailable(StorageError, DomainError):
    """The storage cannot be reached, or refuses a read or write."""

    status, problem, retry_after = 503, "storage-unavailable", 10.0
    detail = "the storage of files and checkpoints cannot be used; the service's log says why: try again later"


class StorageUrlError(StorageError):
    """`STORAGE_URL` names no storage that can be used."""


class Storage(Protocol):
    """Bytes under keys such as `checkpoints/job-…/3/model.safetensors`.

    An object is visible once it is complete, and not before. Writing a key again replaces its object; of several
    writers, the last to finish wins. `a` and `a/b` are never objects at the same time. An invalid key raises BadKey.
    """

    async def write(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """Stores the chunks, of any sizes, and returns their bytes.

        If `chunks` raises, the error passes through, nothing new is visible, and an earlier object of the key stays.
        The same holds where there is no room (StorageFull) or the storage fails (StorageUnavailable)."""
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end), as a slice would cut them, in pieces of a few MiB at most.

        Raises NotStored at the first piece where there is no such object; ValueError for a negative bound."""
        ...

    async def size(self, key: str) -> int | None:
        """The object's size in bytes; None where there is no object."""
        ...

    async def delete(self, key: str) -> None:
        """Deletes the object and all objects below it (`a` deletes `a/b`, not `ab`). No object is no error."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        """Key and size of every object below a prefix (`a` lists `a/b`, neither `a` nor `ab`), in any order."""
        ...

    async def signed_url(self, key: str, lifetime: timedelta) -> str | None:
        """A URL from which anybody can read the object, ranges too, until `lifetime` is over.

        None: only this process can read it. Whether there is an object is not checked."""
        ...

    async def delete_unfinished(self, older_than: timedelta) -> int:
        """Deletes the remains of uploads that last wrote longer ago than `older_than`; returns how many uploads."""
        ...


def validated_key(key: str) -> str:
    """Returns the key. Raises BadKey."""
    segments = key.split("/")
    if len(key) > LONGEST_KEY or any(SEGMENT.fullmatch(name) is None or name in (".", "..") for name in segments):
        raise BadKey("a storage key is segments of letters, digits and ._+=@- between single slashes")
    return key


def clamped_range(start: int, end: int | None, size: int) -> tuple[int, int]:
    """The part of [start, end) that lies within an object of `size` bytes; empty where the bounds cross."""
    if start < 0 or (end is not None and end < 0):
        raise ValueError("a range's bounds count from the start of the object")
    end = size if end is None else min(end, size)
    return min(start, end), end


async def single_chunk(data: bytes) -> AsyncIterator[bytes]:
    """Yields the bytes in one piece."""
    yield data


async def rechunk(chunks: AsyncIterable[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of exactly `size`; the last piece may be shorter. No bytes give no piece."""
    pending = bytearray()
    async for chunk in chunks:
        view = memoryview(chunk)
        while len(view):
            count = min(size - len(pending), len(view))
            pending += view[:count]
            view = view[count:]
            if len(pending) == size:
                yield bytes(pending)
                pending.clear()
    if pending:
        yield bytes(pending)
