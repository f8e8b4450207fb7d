"""Files whose rows and keys disagree: rows of an older dump, and keys that rows still hold."""

from collections.abc import AsyncIterable, AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from core.records import files
from core.storage.file_keys import FileKeys
from core.storage.store import Storage
from core.storage.uploads import destroy_upload

_BATCH = 500


async def purge_destroyed(sessions: async_sessionmaker[AsyncSession], storage: Storage, keys: FileKeys) -> int:
    """Deletes files again that a restored dump has brought back; returns their number.

    The key store has a mark for every file that was deleted. A key that is missing without a mark deletes nothing:
    the store may be another one than before.
    """
    if keys.store is None:
        return 0
    purged = 0
    async for batch in _batches(keys.store.destroyed()):
        async with sessions.begin() as session:
            restored = await files.purge_restored(session, batch, blind=keys.blind)
        for file in restored:
            await destroy_upload(storage, file, keys)
        purged += len(restored)
    return purged


async def move_keys(sessions: async_sessionmaker[AsyncSession], keys: FileKeys) -> int:
    """Moves wrapped keys from the rows to the key store; returns their number. An interrupted move can be repeated."""
    if keys.store is None:
        return 0
    moved = 0
    while True:
        async with sessions.begin() as session:
            held = await files.held_keys(session, limit=_BATCH)
            for file, wrapped in held:
                await keys.store.put(file, wrapped)
            await files.drop_held_keys(session, [file for file, _ in held])
        if not held:
            return moved
        moved += len(held)


async def _batches(items: AsyncIterable[str]) -> AsyncIterator[list[str]]:
    batch: list[str] = []
    async for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
