"""Objects in PostgreSQL, in rows of 1 MiB: API and workers on different machines need nothing else to share them.

Every step is a short transaction of its own, so neither a slow client nor a large file holds a connection or keeps
the database from cleaning up behind itself. A step whose connection breaks is done again, and comes to the same.
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
"""Bytes of every chunk but an object's last. Part of the format: ranges are found by dividing by it."""

PAGE = 1000

DISK_FULL = "53100"
"""SQLSTATE (PostgreSQL, appendix A: disk_full)."""

T = TypeVar("T")
Found = TypeVarTuple("Found")


class PostgresStorage:
    """An object is visible once its row says `complete`; that row replaces the key's former one in the same step."""

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
            with suppress(
                SQLAlchemyError, OSError
            ):  # the first error is the one to tell; `delete_unfinished` finds the rest
                await asyncio.shield(self._discard(upload))
            raise

    async def _step(self, do: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """One short transaction, which may happen twice."""

        async def once() -> T:
            async with self._engine.begin() as connection:
                return await do(connection)

        try:
            return await retry_transient(once)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == DISK_FULL:
                raise StorageFull("the database's disk is full") from error
            raise

    async def _fill(self, upload: UUID, key: str, chunks: AsyncIterable[bytes]) -> int:
        number = written = 0
        async for piece in rechunk(chunks, CHUNK):
            await self._add(upload, number, piece)
            number += 1
            written += len(piece)
        await self._complete(upload, key)
        return written

    async def _add(self, upload: UUID, number: int, piece: bytes) -> None:
        chunk = insert(ObjectChunk).values(upload=upload, number=number, data=piece).on_conflict_do_nothing()

        async def add(connection: AsyncConnection) -> None:
            await _mark(connection, upload, bytes=number * CHUNK + len(piece))
            await connection.execute(chunk)

        await self._step(add)

    async def _complete(self, upload: UUID, key: str) -> None:
        of_key = and_(StoredObject.key == key, StoredObject.complete, StoredObject.upload != upload)

        async def complete(connection: AsyncConnection) -> None:
            # one finisher of a key at a time: of two at once, neither would see the other's row to replace it
            await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
            await connection.execute(delete(StoredObject).where(of_key))
            await _mark(connection, upload, complete=True)

        await self._step(complete)

    async def _discard(self, upload: UUID) -> None:
        async with self._engine.begin() as connection:
            unfinished = and_(StoredObject.upload == upload, ~StoredObject.complete)
            await connection.execute(delete(StoredObject).where(unfinished))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.read`. Only the chunks that the range touches are asked for, and of them only what is in it."""
        found = await self._find(key)
        if found is None:
            raise NotStored(key)
        upload, size = found
        start, end = clamped_range(start, end, size)
        while start < end:
            number, offset = divmod(start, CHUNK)
            length = min(CHUNK - offset, end - start)
            whole = offset == 0 and length == CHUNK
            data = ObjectChunk.data if whole else func.substring(ObjectChunk.data, offset + 1, length)
            chunk = select(data).where(ObjectChunk.upload == upload, ObjectChunk.number == number)
            rows = await self._rows(chunk)
            if not rows:
                raise NotStored(key)  # replaced or deleted since
            yield rows[0][0]
            start += length

    async def size(self, key: str) -> int | None:
        """See `Storage.size`."""
        found = await self._find(key)
        return None if found is None else found[1]

    async def delete(self, key: str) -> None:
        """See `Storage.delete`."""
        gone = and_(StoredObject.complete, or_(StoredObject.key == validated_key(key), _below(key)))
        await self._step(lambda connection: connection.execute(delete(StoredObject).where(gone)))

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        """See `Storage.list`."""
        below = _below(validated_key(prefix)) if prefix else true()
        last = ""
        while True:
            after = select(StoredObject.key, StoredObject.bytes).where(StoredObject.complete, below)
            page = after.where(StoredObject.key > last).order_by(StoredObject.key).limit(PAGE)
            rows = await self._rows(page)
            for key, size in rows:
                yield key, size
            if len(rows) < PAGE:
                return
            last = rows[-1].key

    async def delete_unfinished(self, older_than: timedelta) -> int:
        """See `Storage.delete_unfinished`."""
        dead = and_(~StoredObject.complete, StoredObject.touched_at < func.clock_timestamp() - older_than)
        return (await self._step(lambda connection: connection.execute(delete(StoredObject).where(dead)))).rowcount

    async def _rows(self, query: Select[*Found]) -> Sequence[Row[*Found]]:
        async def once() -> Sequence[Row[*Found]]:
            async with self._engine.connect() as connection:
                return (await connection.execute(query)).all()

        return await retry_transient(once)

    async def _find(self, key: str) -> tuple[UUID, int] | None:
        wanted = and_(StoredObject.key == validated_key(key), StoredObject.complete)
        rows = await self._rows(select(StoredObject.upload, StoredObject.bytes).where(wanted))
        return (rows[0].upload, rows[0].bytes) if rows else None


async def _mark(connection: AsyncConnection, upload: UUID, **values: object) -> None:
    """Changes an upload's row and notes that it goes on, so that `delete_unfinished` can tell it from one that died."""
    touched = update(StoredObject).where(StoredObject.upload == upload)
    changed = await connection.execute(touched.values(touched_at=func.clock_timestamp(), **values))
    if changed.rowcount != 1:
        raise StorageError("the upload rested for so long that it was taken for dead and collected")


def _below(prefix: str) -> ColumnElement[bool]:
    """Keys that begin with `prefix/`, as one range of the index: "0" follows "/" in the order of the "C" collation."""
    return and_(StoredObject.key >= f"{prefix}/", StoredObject.key < f"{prefix}0")
