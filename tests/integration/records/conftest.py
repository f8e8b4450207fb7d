"""A scene on a database of the test's own: a claim takes the oldest job of the whole database."""

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.records.scene import Scene


@pytest_asyncio.fixture
async def scene(clean_engine: AsyncEngine) -> Scene:
    scene = await Scene(clean_engine).create()
    await scene.model()
    return scene
