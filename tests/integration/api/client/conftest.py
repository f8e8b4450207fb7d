"""Both clients of the service, each with the key of the test's organisation."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.integration.api.client.either_client import EitherClient, Kind, either_client
from tests.integration.api.service import Service


@pytest.fixture
def key(client: httpx.AsyncClient) -> str:
    """The admin key of the test's organisation."""
    return str(client.headers["authorization"].removeprefix("Bearer "))


@pytest.fixture(params=["blocking", "asynchronous"])
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest_asyncio.fixture
async def either(kind: Kind, service: Service, key: str) -> AsyncIterator[EitherClient]:
    """A client of each kind in turn."""
    async with either_client(kind, service.url, key) as client:
        yield client
