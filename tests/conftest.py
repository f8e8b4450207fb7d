"""Servers and databases for the tests that ask for them; a run without such tests starts none."""

import gc
import os
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from core.embedded import Stack
from core.records.engine import make_engine
from core.records.migrate import upgrade
from tests.servers import new_database, running_stack

# worker processes of a parallel run inherit a terminal's size, and consoles made at import would keep that width
for size in ("COLUMNS", "LINES"):
    os.environ.pop(size, None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Collects the tests without garbage collection, which takes a third of the time of their imports."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distributes `--dist loadfile` by `work_units`."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.work_units import WorkUnits

    return WorkUnits(config, log)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A real PostgreSQL and a real Redis, one of each for the whole run."""
    with running_stack() as started:
        yield started


@pytest_asyncio.fixture(scope="session")
async def template_url(stack: Stack) -> AsyncIterator[str]:
    """A migrated database without connections, so that it can be copied."""
    async with new_database(stack) as url:
        await upgrade(url)
        yield url


@pytest_asyncio.fixture(scope="session")
async def database_url(stack: Stack, template_url: str) -> AsyncIterator[str]:
    """A migrated database for the whole run, for tests that look at their own rows only."""
    async with new_database(stack, template=template_url) as url:
        yield url


@pytest_asyncio.fixture
async def clean_database_url(stack: Stack, template_url: str) -> AsyncIterator[str]:
    """A migrated, empty database for one test."""
    async with new_database(stack, template=template_url) as url:
        yield url


@pytest_asyncio.fixture(scope="session")
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on the run's database."""
    created = make_engine(database_url)
    yield created
    await created.dispose()


@pytest_asyncio.fixture
async def clean_engine(clean_database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a database of the test's own."""
    created = make_engine(clean_database_url)
    yield created
    await created.dispose()


@pytest.fixture(scope="session")
def redis_url(stack: Stack) -> str:
    """The URL of the run's Redis, as Celery writes it."""
    return stack.redis_url
