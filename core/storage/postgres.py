"""Objects in PostgreSQL, in rows of 1 MiB: API and workers on different machines need no other store to share them.

Each step is a short transaction of its own, so neither a slow client nor a large file holds a connection or keeps the
database from vacuuming. Each step is idempotent: where its connection breaks, it is done again.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar, TypeVarTuple
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core.records.objects import ObjectChunk, StoredObject
from core.records.retry import retry_transient
from core.storage.store import CHUNK_BYTES, NotStored, StorageError, StorageFull, clamped_range, rechunk, validated_key

CHUNK = CHUNK_BYTES
"""Bytes of every chunk but an object's last. Part of the stored format: a range's first chunk is found by division."""

PAGE = 1000

DISK_FULL = "53100"
"""SQLSTATE (PostgreSQL, appendix A: disk_full)."""

T = TypeVar("T")
Columns = TypeVarTuple("Columns")


class PostgresStorage:
    """An object is visible once its row says `complete`; the same step deletes the key's former row."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def write(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """See `Storage.write`."""
        upload = uuid4()
        row = insert(StoredObject).values(upload=upload, key=validated_key(key)).on_conflict_do_nothing()
        await self._step(lambda connection: connection.execute(row))
        try:
            return await self._fill(upload, key, chunks)
        except BaseException:
            with suppress(SQLAlchemyError, OSError):  # the first error is raised; `delete_unfinished` does the rest
                await asyncio.shield(self._discard(upload))
            raise

    async def _step(self, statements: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Runs one short transaction, perhaps twice."""

        async def transaction() -> T:
            async with self._engine.begin() as connection:
                return await statements(connection)

        try:
            return await retry_transient(transaction)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == DISK_FULL:
                raise StorageFull("the database's disk is full") from error
            raise

    async def _fill(self, upload: UUID, key: str, chunks: AsyncIterable[bytes]) -> int:
        number = written = 0
        async for chunk in rechunk(chunks, CHUNK):
            await self._add(upload, number, chunk)
            number += 1
            written += len(chunk)
        await self._complete(upload, key)
        return written

    async def _add(self, upload: UUID, number: int, chunk: bytes) -> None:
        row = insert(ObjectChunk).values(upload=upload, number=number, data=chunk).on_conflict_do_nothing()

        async def add(connection: AsyncConnection) -> None:
            await _update_upload(connection, upload, bytes=number * CHUNK + len(chunk))
            await connection.execute(row)

        await self._step(add)

    async def _complete(self, upload: UUID, key: str) -> None:
        former = and_(StoredObject.key == key, StoredObject.complete, StoredObject.upload != upload)

        async def complete(connection: AsyncConnection) -> None:
            # one writer completes a key at a time: of two at once, neither would see the other's row to replace it
            await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
            await connection.execute(delete(StoredObject).where(former))
            await _update_upload(connection, upload, complete=True)

        await self._step(complete)

    async def _discard(self, upload: UUID) -> None:
        async with self._engine.begin() as connection:
            unfinished = and_(StoredObject.upload == upload, ~StoredObject.complete)
            await connection.execute(delete(StoredObject).where(unfinished))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.read`. Selects only the chunks that the range touches, and of each only the range's part."""
        stored = await self._find(key)
        if stored is None:
            raise NotStored(key)
        upload, size = stored
        start, end = clamped_range(start, end, size)
        while start < end:
            number, offset = divmod(start, CHUNK)
            length = min(CHUNK - offset, end - start)
            full = offset == 0 and length == CHUNK
            data = ObjectChunk.data if full else func.substring(ObjectChunk.data, offset + 1, length)
            chunk = select(data).where(ObjectChunk.upload == upload, ObjectChunk.number == number)
            rows = await self._rows(chunk)
            if not rows:
                raise NotStored(key)  # replaced or deleted since
            yield rows[0][0]
            start += length

    async def size(self, key: str) -> int | None:
        """See `Storage.size`."""
        stored = await self._find(key)
        return None if stored is None else stored[1]

    async def delete(self, key: str) -> None:
        """See `Storage.delete`."""
        objects = and_(StoredObject.complete, or_(StoredObject.key == validated_key(key), _below(key)))
        await self._step(lambda connection: connection.execute(delete(StoredObject).where(objects)))

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        """See `Storage.list`."""
        below = _below(validated_key(prefix)) if prefix else true()
        last = ""
        while True:
            objects = select(StoredObject.key, StoredObject.bytes).where(StoredObject.complete, below)
            page = objects.where(StoredObject.key > last).order_by(StoredObject.key).limit(PAGE)
            rows = await self._rows(page)
            for key, size in rows:
                yield key, size
            if len(rows) < PAGE:
                return
            last = rows[-1].key

    async def signed_url(self, key: str, lifetime: timedelta) -> str | None:
        """See `Storage.signed_url`. Rows of the database have no URL."""
        validated_key(key)
        return None

    async def delete_unfinished(self, older_than: timedelta) -> int:
        """See `Storage.delete_unfinished`."""
        crashed = and_(~StoredObject.complete, StoredObject.touched_at < func.clock_timestamp() - older_than)
        return (await self._step(lambda connection: connection.execute(delete(StoredObject).where(crashed)))).rowcount

    async def _rows(self, query: Select[*Columns]) -> Sequence[Row[*Columns]]:
        async def select_rows() -> Sequence[Row[*Columns]]:
            async with self._engine.connect() as connection:
                return (await connection.execute(query)).all()

        return await retry_transient(select_rows)

    async def _find(self, key: str) -> tuple[UUID, int] | None:
        """Upload and size of the key's complete object."""
        complete = and_(StoredObject.key == validated_key(key), StoredObject.complete)
        rows = await self._rows(select(StoredObject.upload, StoredObject.bytes).where(complete))
        return (rows[0].upload, rows[0].bytes) if rows else None


async def _update_upload(connection: AsyncConnection, upload: UUID, **values: object) -> None:
    """Changes an upload's row and its `touched_at`, by which `delete_unfinished` tells it from a crashed upload."""
    query = update(StoredObject).where(StoredObject.upload == upload)
    result = await connection.execute(query.values(touched_at=func.clock_timestamp(), **values))
    if result.rowcount != 1:
        raise StorageError("the upload paused for so long that it was collected as a crashed one")


def _below(prefix: str) -> ColumnElement[bool]:
    """Keys that begin with `prefix/`, as one range of the index: "0" follows "/" in the "C" collation."""
    return and_(StoredObject.key >= f"{prefix}/", StoredObject.key < f"{prefix}0")
