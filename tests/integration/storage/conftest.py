"""A database that only these tests write objects to, because they count what is left, and servers of object storage."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from core.embedded import Stack
from core.records.engine import make_engine
from tests.object_stores import ObjectStore, azure_server, s3_server, why_no_azure, why_no_s3
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


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    if reason := why_no_s3():
        pytest.skip(reason)
    with s3_server() as store:
        yield store


@pytest.fixture(scope="session")
def azure() -> Iterator[ObjectStore]:
    if reason := why_no_azure():
        pytest.skip(reason)
    with azure_server() as store:
        yield store


@pytest.fixture
def s3_url(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new prefix in S3, with its credentials in the environment."""
    return _enter(s3, monkeypatch)


@pytest.fixture
def azure_url(azure: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new prefix in Azure's storage, with its credentials in the environment."""
    return _enter(azure, monkeypatch)


def _enter(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    return store.new_prefix()
