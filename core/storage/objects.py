"""Objects in a folder or in an object store (S3, Google Cloud Storage, Azure), all through obstore."""

import asyncio
import errno
import os
import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, ObjectStore, S3Store, from_url

from core.storage.store import (
    NotStored,
    StorageError,
    StorageFull,
    StorageUnavailable,
    StorageUrlError,
    clamped_range,
    validated_key,
)

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")

SIGNING = (S3Store, GCSStore, AzureStore)
"""Stores that can sign URLs."""

PART = 8 << 20
"""Bytes of one part of an upload. Object stores take at most 10 000 parts, so 80 GB per object."""

READ = 2 << 20

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_ERRNO = re.compile(r"\(os error (\d+)\)")
"""The operating system's error number in the text of obstore's errors, which have no field for it."""

UNFINISHED = re.compile(r".+#\d+")
"""obstore's name of a file that it is still writing; obstore never lists such a file."""


class ObjectStorage:
    """An upload becomes visible by its last step: a rename in a folder, the completing request in an object store.

    In Azure, uploads of more than one part to one key at a time may all fail; the service never writes a key twice.
    In an object store, a lifecycle rule must delete the remains of crashes ("abort incomplete multipart uploads")."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder

    @classmethod
    def open(cls, url: str) -> "ObjectStorage":
        """The store that a URL names. A missing folder is made, for its owner alone."""
        parts = urlsplit(url)
        if parts.scheme == "file":
            folder = Path(unquote(parts.path))
            if parts.netloc or not parts.path.strip("/"):
                raise StorageUrlError("STORAGE_URL must be file:///an/absolute/folder")
            try:
                folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            except OSError as error:
                raise StorageUrlError(f"the folder that STORAGE_URL names cannot be made: {error.strerror}") from error
            return cls(LocalStore(folder, automatic_cleanup=True), folder)
        if parts.scheme not in SCHEMES or not parts.netloc:
            raise StorageUrlError("STORAGE_URL must begin with postgres://, file:///, s3://, gs:// or az://")
        try:
            return cls(from_url(url))
        except (BaseError, ValueError) as error:
            raise StorageUrlError(f"STORAGE_URL cannot be used ({type(error).__name__})") from error

    async def write(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """See `Storage.write`."""
        written = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal written
            async for chunk in chunks:
                if chunk:
                    written += len(chunk)
                    yield chunk

        source = counted()
        try:
            with _translated(key):
                start = [chunk async for chunk in _first_part(source)]
                if written <= PART:
                    # one request, whole or not at all: parts of one key by several writers would mix in Azure
                    await obstore.put_async(self._store, validated_key(key), b"".join(start), use_multipart=False)
                else:
                    whole = _chain(start, source)
                    await obstore.put_async(self._store, validated_key(key), whole, chunk_size=PART, max_concurrency=2)
            if self._folder is not None:
                with _translated(key, (OSError,)):
                    await asyncio.to_thread(_flush_to_disk, self._folder, self._folder / key)
        except StorageError:
            if self._folder is not None:
                await asyncio.to_thread(_remove_empty_parents, self._folder, self._folder / key)
            raise
        return written

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.read`."""
        size = await self.size(key)
        if size is None:
            raise NotStored(key)
        start, end = clamped_range(start, end, size)
        if start == end:
            return
        with _translated(key):
            try:
                result = await obstore.get_async(self._store, key, options={"range": (start, end)})
            except FileNotFoundError as error:
                raise NotStored(key) from error
            source = aiter(result.stream(min_chunk_size=READ))
        while True:
            with _translated(key):
                piece = await anext(source, None)
            if piece is None:
                return
            yield bytes(piece)

    async def size(self, key: str) -> int | None:
        """See `Storage.size`."""
        with _translated(key):
            try:
                return int((await obstore.head_async(self._store, validated_key(key)))["size"])
            except FileNotFoundError:
                return None

    async def delete(self, key: str) -> None:
        """See `Storage.delete`."""
        paths = [path async for path, _ in self.list(validated_key(key))]
        if await self.size(key) is not None:
            paths.append(key)
        for path in paths:
            with _translated(path), suppress(FileNotFoundError):
                await obstore.delete_async(self._store, path)

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        """See `Storage.list`."""
        # obstore matches a prefix by whole segments, as `Storage.list` promises
        pages = aiter(obstore.list(self._store, prefix=validated_key(prefix) if prefix else None))
        while True:
            with _translated(prefix):
                page = await anext(pages, None)
            if page is None:
                return
            for entry in page:
                yield entry["path"], int(entry["size"])

    async def signed_url(self, key: str, lifetime: timedelta) -> str | None:
        """See `Storage.signed_url`. Files of a folder have no URL."""
        if self._folder is not None or not isinstance(self._store, SIGNING):
            return None
        with _translated(key):
            return str(await obstore.sign_async(self._store, "GET", validated_key(key), lifetime))

    async def delete_unfinished(self, older_than: timedelta) -> int:
        """See `Storage.delete_unfinished`. Object stores do not list unfinished uploads: there it deletes nothing."""
        if self._folder is None:
            return 0
        return await asyncio.to_thread(_delete_unfinished, self._folder, time.time() - older_than.total_seconds())


async def _first_part(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks up to the first byte beyond a part; more only where a chunk is larger."""
    size = 0
    while size <= PART and (chunk := await anext(chunks, None)) is not None:
        size += len(chunk)
        yield chunk


async def _chain(start: Sequence[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in start:
        yield chunk
    async for chunk in rest:
        yield chunk


@contextmanager
def _translated(key: str, kinds: tuple[type[Exception], ...] = (BaseError,)) -> Iterator[None]:
    """Raises errors of `kinds`, by default the store's own, as StorageFull or StorageUnavailable that name the key.

    An error of the chunks that are being written is not the store's: it passes unchanged.
    """
    try:
        yield
    except kinds as error:
        number = error.errno if isinstance(error, OSError) else None
        if number is None and (match := _ERRNO.search(str(error))):
            number = int(match[1])
        if number in NO_ROOM:
            raise StorageFull(f"there is no room left to write {key}") from error
        reason = os.strerror(number) if number else type(error).__name__
        raise StorageUnavailable(f"the storage failed at {key or 'listing'}: {reason}") from error


def _remove_empty_parents(root: Path, path: Path) -> None:
    """Removes the folders that a write made and left empty."""
    for parent in path.parents:
        if parent == root or not parent.is_relative_to(root):
            return
        try:
            parent.rmdir()
        except OSError:  # not empty, or deleted by another process
            return


def _flush_to_disk(root: Path, path: Path) -> None:
    """Flushes a file and its folders, so that they survive a power loss; obstore leaves it to the operating system."""
    for entry in [path, *(parent for parent in path.parents if parent.is_relative_to(root))]:
        try:
            descriptor = os.open(entry, os.O_RDONLY)
        except FileNotFoundError:
            continue  # deleted since
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _delete_unfinished(folder: Path, before: float) -> int:
    """Deletes unfinished uploads and empty folders that last changed before `before` (seconds since 1970)."""
    # all times are read before anything is deleted: a deletion changes its folder's time
    entries = (Path(base, name) for base, folders, files in os.walk(folder) for name in (*folders, *files))
    old = [path for path in entries if _changed_before(path, before)]
    unfinished = [path for path in old if UNFINISHED.fullmatch(path.name)]
    old_folders = [path for path in old if path.is_dir()]
    for path in unfinished:
        path.unlink(missing_ok=True)
    for path in sorted(old_folders, reverse=True):  # subfolders first
        with suppress(OSError):  # not empty
            path.rmdir()
    return len(unfinished)


def _changed_before(path: Path, moment: float) -> bool:
    """Whether the path last changed before the moment; False where it has been removed meanwhile."""
    try:
        return path.stat().st_mtime < moment
    except FileNotFoundError:
        return False
