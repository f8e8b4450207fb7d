"""Stores of wrapped keys outside the database, so that a dump of the database holds none of them."""

from collections.abc import AsyncIterator
from typing import Protocol

from core.storage.objects import ObjectStorage
from core.storage.store import NotStored, Storage, StorageUrlError, single_chunk


class KeyStore(Protocol):
    """Keys by the id of their file or job, and a mark for every file whose key was destroyed.

    A key management system is another class with these methods.
    """

    async def put(self, id: str, key: bytes) -> None:
        """Stores the key; a key of the same id is replaced."""
        ...

    async def get(self, id: str) -> bytes | None:
        """The key of this id; None where there is none."""
        ...

    async def delete(self, id: str) -> None:
        """Deletes the key. No key is no error."""
        ...

    def ids(self) -> AsyncIterator[str]:
        """The ids that have a key, in any order."""
        ...

    async def mark_destroyed(self, file: str) -> None:
        """Notes for good that the file was deleted."""
        ...

    def destroyed(self) -> AsyncIterator[str]:
        """The files that were marked, in any order."""
        ...


class StoredKeys:
    """Keys as small objects of a storage of their own, such as a folder with one file for each key."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def put(self, id: str, key: bytes) -> None:
        """See `KeyStore.put`."""
        await self._storage.write(f"keys/{id}", single_chunk(key))

    async def get(self, id: str) -> bytes | None:
        """See `KeyStore.get`."""
        try:
            return b"".join([chunk async for chunk in self._storage.read(f"keys/{id}")])
        except NotStored:
            return None

    async def delete(self, id: str) -> None:
        """See `KeyStore.delete`."""
        await self._storage.delete(f"keys/{id}")

    async def ids(self) -> AsyncIterator[str]:
        """See `KeyStore.ids`."""
        async for key, _ in self._storage.list("keys"):
            yield key.removeprefix("keys/")

    async def mark_destroyed(self, file: str) -> None:
        """See `KeyStore.mark_destroyed`."""
        await self._storage.write(f"destroyed/{file}", single_chunk(b""))

    async def destroyed(self) -> AsyncIterator[str]:
        """See `KeyStore.destroyed`."""
        async for key, _ in self._storage.list("destroyed"):
            yield key.removeprefix("destroyed/")


def open_key_store(url: str | None, *, storage_url: str) -> KeyStore | None:
    """The key store that KEY_STORE_URL names; None where it is not set. Raises StorageUrlError."""
    if url is None:
        return None
    if url.rstrip("/") == storage_url.rstrip("/"):
        raise StorageUrlError("KEY_STORE_URL must not be STORAGE_URL: keys lie apart from what they open")
    if url.startswith("postgres"):
        raise StorageUrlError("KEY_STORE_URL must lie outside the database: write file:///a/folder, for example")
    try:
        return StoredKeys(ObjectStorage.open(url))
    except StorageUrlError as error:
        raise StorageUrlError(str(error).replace("STORAGE_URL", "KEY_STORE_URL")) from error
