"""A scene on a database of the test's own: claims take the oldest job of the whole database."""

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.records.scene import Scene


@pytest_asyncio.fixture
async def scene(clean_engine: AsyncEngine) -> Scene:
    made = await Scene(clean_engine).set()
    await made.model()
    return made
