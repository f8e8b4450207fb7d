"""Uploaded files at rest: each is sealed under a data key of its own, which the service key wraps."""

from collections.abc import AsyncIterable, AsyncIterator

from core.storage.sealed import new_data_key, open_sealed, seal, unwrap, wrap
from core.storage.store import Storage


def storage_key(file: str) -> str:
    """The storage key of a file's bytes."""
    return f"files/{file}"


async def store_upload(storage: Storage, file: str, chunks: AsyncIterable[bytes], service_key: bytes) -> bytes:
    """Stores the plain chunks sealed and returns the wrapped key; if `chunks` raises, nothing is stored."""
    key = new_data_key()
    await storage.write(storage_key(file), seal(chunks, key))
    return wrap(key, service_key, file.encode())


def read_upload(storage: Storage, file: str, wrapped_key: bytes, service_key: bytes) -> AsyncIterator[bytes]:
    """The plain bytes. Raises SealBroken, NotStored."""
    return open_sealed(storage.read(storage_key(file)), unwrap(wrapped_key, service_key, file.encode()))
