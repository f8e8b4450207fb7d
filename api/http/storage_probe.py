"""Probe of the storage: writes a small object, at most every few seconds as long as that succeeds."""

import asyncio
import os
import time
from typing import Literal

from sqlalchemy.exc import SQLAlchemyError

from core.storage import Storage, StorageError, StorageFull
from core.storage.store import single_chunk

SUCCESS_SECONDS = 5.0
"""How long a successful write counts."""
TIMEOUT_SECONDS = 2.0

StorageState = Literal["ok", "full", "unreachable"]


class StorageProbe:
    """Writes and deletes an object under `health/` that belongs to this process alone."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._key = f"health/{os.urandom(8).hex()}"
        self._lock = asyncio.Lock()
        self._ok_until = 0.0

    async def state(self) -> StorageState:
        """Returns whether a write succeeds. A success counts for `SUCCESS_SECONDS`; a failure is never reused."""
        async with self._lock:
            if time.monotonic() < self._ok_until:
                return "ok"
            state = await self._probe()
            if state == "ok":
                self._ok_until = time.monotonic() + SUCCESS_SECONDS
            return state

    async def _probe(self) -> StorageState:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._storage.write(self._key, single_chunk(b"writable"))
                await self._storage.delete(self._key)
        except StorageFull:
            return "full"
        except (StorageError, SQLAlchemyError, OSError, TimeoutError):
            return "unreachable"
        return "ok"
