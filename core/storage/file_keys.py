"""The data keys of sealed files: wrapped by the service key, and kept in the key store or in a row of the database.

The id that a key is kept under is that of an uploaded file, or of a job, for its snapshots.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import datetime

from core.schema.ids import ID_PATTERN, id_timestamp
from core.storage.key_store import KeyStore
from core.storage.sealed import unwrap, wrap
from core.storage.store import NotStored


class KeyDestroyed(NotStored):
    """The key is not in the key store: it was destroyed, or KEY_STORE_URL names another store."""


class FileKeys:
    """Keeps, finds and destroys data keys. Without a key store, the rows of files and jobs hold the wrapped keys."""

    def __init__(self, service_key: bytes, store: KeyStore | None = None) -> None:
        self._service_key = service_key
        self.store = store

    async def keep(self, id: str, data_key: bytes) -> bytes | None:
        """Wraps the key and stores it. Returns what the row must hold: None where the key store holds it."""
        wrapped = wrap(data_key, self._service_key, id.encode())
        if self.store is None:
            return wrapped
        await self.store.put(id, wrapped)
        return None

    async def data_key(self, id: str, wrapped: bytes | None) -> bytes:
        """The key of a file or job whose row holds `wrapped`. Raises KeyDestroyed, SealBroken."""
        if wrapped is None and self.store is not None:
            wrapped = await self.store.get(id)
        if wrapped is None:
            raise KeyDestroyed(f"the key of {id}")
        return unwrap(wrapped, self._service_key, id.encode())

    async def destroy(self, file: str) -> None:
        """Destroys the key of a file that was deleted, for good: a restored dump does not bring the file back.

        The file's row is gone, and with it a key that the row held.
        """
        if self.store is not None:
            await self.store.mark_destroyed(file)
            await self.store.delete(file)

    async def discard(self, id: str) -> None:
        """Deletes the key of an upload that never got a row, or of a job's snapshots. No key is no error."""
        if self.store is not None:
            await self.store.delete(id)

    async def kept_before(self, moment: datetime) -> AsyncIterator[str]:
        """The uploaded files in the key store whose ids were made before the moment."""
        if self.store is not None:
            async for id in self.store.ids():
                if ID_PATTERN.match(id) and id.startswith("file-") and id_timestamp(id) < moment:
                    yield id

    def blind(self, digest: str) -> str:
        """Returns the HMAC-SHA256, in hexadecimal digits, of a digest in hexadecimal digits.

        Only who has the service key can tell which text a digest belongs to, however short the text is.
        """
        derived = hmac.digest(self._service_key, b"unlearning-service purged digests v1", hashlib.sha256)
        return hmac.digest(derived, digest.encode(), hashlib.sha256).hex()
