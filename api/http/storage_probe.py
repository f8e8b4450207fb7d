"""Tries whether the storage takes bytes, with a small object; a success is not tried again for some seconds."""

import asyncio
import os
import time
from typing import Literal

from sqlalchemy.exc import SQLAlchemyError

from core.storage import Storage, StorageError, StorageFull
from core.storage.store import single_chunk

EVERY_SECONDS = 5.0
LIMIT_SECONDS = 2.0

StorageState = Literal["ok", "full", "unreachable"]


class StorageProbe:
    """Writes and deletes an object of this process's own under `health/`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._key = f"health/{os.urandom(8).hex()}"
        self._turn = asyncio.Lock()
        self._until = 0.0

    async def state(self) -> StorageState:
        """Returns whether a write succeeds now; a success counts for `EVERY_SECONDS`, a failure is tried again."""
        async with self._turn:
            if time.monotonic() < self._until:
                return "ok"
            state = await self._try()
            if state == "ok":
                self._until = time.monotonic() + EVERY_SECONDS
            return state

    async def _try(self) -> StorageState:
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                await self._storage.write(self._key, single_chunk(b"writable"))
                await self._storage.delete(self._key)
        except StorageFull:
            return "full"
        except (StorageError, SQLAlchemyError, OSError, TimeoutError):
            return "unreachable"
        return "ok"
