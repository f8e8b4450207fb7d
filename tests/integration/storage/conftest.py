"""A database that only these tests write objects to: they count the objects that are left."""

from collections.abc import AsyncIterator

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from core.embedded import Stack
from core.records.engine import make_engine
from tests.servers import new_database


@pytest_asyncio.fixture(scope="session")
async def database_url(stack: Stack, template_url: str) -> AsyncIterator[str]:
    async with new_database(stack, template=template_url) as url:
        yield url


@pytest_asyncio.fixture(scope="session")
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(database_url)
    yield engine
    await engine.dispose()
