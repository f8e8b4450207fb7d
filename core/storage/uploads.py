"""Uploaded files at rest: each is sealed under a data key of its own."""

from collections.abc import AsyncIterable, AsyncIterator

from core.storage.file_keys import FileKeys
from core.storage.sealed import new_data_key, open_sealed, seal
from core.storage.store import Storage


def storage_key(file: str) -> str:
    """The storage key of a file's bytes."""
    return f"files/{file}"


async def store_upload(storage: Storage, file: str, chunks: AsyncIterable[bytes], keys: FileKeys) -> bytes | None:
    """Stores the plain chunks sealed, and their key; returns what the file's row must hold of the key.

    If `chunks` raises, nothing is stored."""
    key = new_data_key()
    await storage.write(storage_key(file), seal(chunks, key))
    return await keys.keep(file, key)


async def read_upload(storage: Storage, file: str, wrapped_key: bytes | None, keys: FileKeys) -> AsyncIterator[bytes]:
    """The plain bytes; `wrapped_key` is what the file's row holds. Raises SealBroken, NotStored."""
    data_key = await keys.data_key(file, wrapped_key)
    async for chunk in open_sealed(storage.read(storage_key(file)), data_key):
        yield chunk


async def discard_upload(storage: Storage, file: str, keys: FileKeys) -> None:
    """Deletes what `store_upload` stored of a file that got no row."""
    await keys.discard(file)
    await storage.delete(storage_key(file))


async def destroy_upload(storage: Storage, file: str, keys: FileKeys) -> None:
    """Destroys the key of a file whose row was deleted, then deletes its bytes."""
    await keys.destroy(file)
    await storage.delete(storage_key(file))
