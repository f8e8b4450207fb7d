"""The migrations make the tables of the code, revert them, and may be run by two processes at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core.embedded import Stack
from core.records import migrate
from core.records.engine import make_engine
from core.records.tables import Base
from tests.servers import new_database

CATALOGUE = """
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
    UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'column', attrelid::regclass::text, attname,
        concat(format_type(atttypid, atttypmod), attnotnull, atthasdef)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0
    ORDER BY 1, 2, 3
"""


@pytest_asyncio.fixture
async def empty(stack: Stack) -> AsyncIterator[tuple[str, AsyncEngine]]:
    async with new_database(stack) as url:
        engine = make_engine(url)
        yield url, engine
        await engine.dispose()


async def catalogue(connection: AsyncConnection) -> set[tuple[str, ...]]:
    rows = (await connection.execute(text(CATALOGUE))).all()
    return {tuple(row) for row in rows if "alembic_version" not in row}


async def test_an_upgrade_a_downgrade_and_an_upgrade_leave_no_difference(empty: tuple[str, AsyncEngine]) -> None:
    url, engine = empty
    await migrate.upgrade(url)
    assert await migrate.is_current(engine)
    async with engine.connect() as connection:
        assert await migrate.drift(connection) == []
        migrated = await catalogue(connection)
    await migrate.downgrade(url)
    assert not await migrate.is_current(engine)
    async with engine.connect() as connection:
        assert await catalogue(connection) == set()
    await migrate.upgrade(url)
    async with engine.connect() as connection:
        assert await catalogue(connection) == migrated


async def test_the_migrations_make_exactly_the_tables_of_the_code(
    empty: tuple[str, AsyncEngine], template_url: str, stack: Stack
) -> None:
    """Compares check constraints and partial indexes too, which autogenerate does not."""
    _, engine = empty
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        expected = await catalogue(connection)
    async with new_database(stack, template=template_url) as copied:
        migrated = make_engine(copied)
        async with migrated.connect() as connection:
            assert await catalogue(connection) == expected
        await migrated.dispose()


async def test_chunks_of_checkpoints_are_stored_uncompressed(empty: tuple[str, AsyncEngine]) -> None:
    url, engine = empty
    await migrate.upgrade(url)
    query = "SELECT attstorage FROM pg_attribute WHERE attrelid = 'object_chunks'::regclass AND attname = 'data'"
    async with engine.connect() as connection:
        assert (await connection.execute(text(query))).scalar_one() == b"e"


async def test_the_triggers_are_removed_with_their_migrations(empty: tuple[str, AsyncEngine]) -> None:
    url, engine = empty
    query = text("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    triggers = text("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
    await migrate.upgrade(url)
    async with engine.connect() as connection:
        assert sorted(await connection.scalars(triggers)) == ["tr_audit_append_only", "tr_jobs_status_change"]
    await migrate.downgrade(url)
    async with engine.connect() as connection:
        assert await connection.scalar(query) == 0


async def test_two_processes_that_start_together_migrate_once(empty: tuple[str, AsyncEngine]) -> None:
    url, engine = empty
    await asyncio.gather(migrate.upgrade(url), migrate.upgrade(url))
    assert await migrate.is_current(engine)


async def test_a_database_that_is_behind_is_not_current(empty: tuple[str, AsyncEngine]) -> None:
    _, engine = empty
    assert not await migrate.is_current(engine)
