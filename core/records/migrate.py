"""Migrates a database to this version, once, however many processes start together."""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

import core.records.objects  # noqa: F401  # its tables belong to the metadata
import migrations
from core.records.engine import make_engine
from core.records.tables import Base

LOCK = 0x756E6C72  # any number that only this uses: "unlr"


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    return config


async def _run(database_url: str, step: str, revision: str) -> None:
    engine = make_engine(database_url)
    try:
        async with engine.connect() as connection:
            # a session's lock: of two processes that start together, the second waits and finds nothing to do
            await connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
            await connection.commit()
            try:
                await connection.run_sync(lambda sync: getattr(command, step)(_config(sync), revision))
                await connection.commit()
            finally:
                await connection.rollback()
                await connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
    finally:
        await engine.dispose()


async def upgrade(database_url: str, revision: str = "head") -> None:
    """Applies the migrations up to `revision`; does nothing where they are applied already."""
    await _run(database_url, "upgrade", revision)


async def downgrade(database_url: str, revision: str = "base") -> None:
    """Reverts the migrations down to `revision`, and deletes the data of their tables."""
    await _run(database_url, "downgrade", revision)


async def is_current(engine: AsyncEngine) -> bool:
    """Whether the database is at this version's newest migration."""

    def revision(connection: Connection) -> bool:
        head = ScriptDirectory.from_config(_config(connection)).get_current_head()
        return MigrationContext.configure(connection).get_current_revision() == head

    async with engine.connect() as connection:
        return await connection.run_sync(revision)


async def drift(connection: AsyncConnection) -> list[object]:
    """Differences between the tables in the code and those that the migrations make; empty: none."""

    def compare(sync: Connection) -> list[object]:
        context = MigrationContext.configure(sync, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, Base.metadata))

    return await connection.run_sync(compare)
