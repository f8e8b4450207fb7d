"""A receiver on the loopback interface, and APIs on databases of their own: each API sends its whole database's."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from core.embedded import Stack
from tests.integration.api.service import Service, make_settings, run_service
from tests.integration.webhooks.receiving import Receiver, running_receiver
from tests.servers import new_database


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest_asyncio.fixture(scope="package")
async def service(
    stack: Stack, template_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """An API whose operator allows webhooks to the loopback interface."""
    folder = tmp_path_factory.mktemp("webhooks")
    async with new_database(stack, template=template_url) as url:
        settings = make_settings(folder, url, redis_url, webhook_allow=["127.0.0.1"])
        async with run_service(settings) as running:
            yield running


@pytest_asyncio.fixture(scope="package")
async def strict_service(
    stack: Stack, template_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """An API whose operator allows nothing beyond the rules."""
    folder = tmp_path_factory.mktemp("strict")
    async with new_database(stack, template=template_url) as url:
        settings = make_settings(folder, url, redis_url)
        async with run_service(settings) as running:
            yield running


@pytest_asyncio.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an admin key of a new organisation."""
    async with service.client() as admin:
        yield admin
