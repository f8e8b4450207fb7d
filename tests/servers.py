"""The real PostgreSQL and Redis that tests run against, and databases that cost milliseconds."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from core.embedded import Stack


@contextmanager
def short_folder() -> Iterator[Path]:
    """Yields a folder whose path leaves room for a socket's name, and that PostgreSQL's own user can pass through."""
    memory = Path("/dev/shm")
    # initdb and every shutdown wait for hundreds of small files to reach the disk; in memory they do not
    in_memory = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30
    folder = Path(tempfile.mkdtemp(prefix="ut-", dir=memory if in_memory else "/tmp")).resolve()
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_stack() -> Iterator[Stack]:
    """Runs both servers in a folder of their own, which is removed afterwards."""
    with short_folder() as folder:
        stack = Stack.start(folder / "data")
        try:
            yield stack
        finally:
            stack.stop()


async def execute(url: str, *statements: str) -> None:
    """Runs statements outside a transaction, as CREATE DATABASE needs it."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            for statement in statements:
                await connection.execute(text(statement))
    finally:
        await engine.dispose()


@asynccontextmanager
async def new_database(stack: Stack, *, template: str | None = None) -> AsyncIterator[str]:
    """Yields the URL of a new database, empty or a copy of a template without connections; dropped afterwards."""
    name = f"test_{uuid4().hex}"
    owner = make_url(stack.database_url)
    copy = f"TEMPLATE {make_url(template).database}" if template else ""
    await execute(stack.superuser_url, f"CREATE DATABASE {name} OWNER {owner.username} {copy}")
    try:
        yield owner.set(database=name).render_as_string(hide_password=False)
    finally:
        await execute(stack.superuser_url, f"DROP DATABASE {name} WITH (FORCE)")
