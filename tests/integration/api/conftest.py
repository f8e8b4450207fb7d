"""One API for all tests of this folder; each test has its own organisation."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from api.models import torch_process
from tests.integration.api import forked_checks
from tests.integration.api.answers import undeclared_answers
from tests.integration.api.service import Service, make_settings, run_service


@pytest_asyncio.fixture(scope="session")
async def service(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """A running API with small limits, so that tests of the limits need little data.

    At the end, the OpenAPI document has every status that the tests of this folder were answered with.
    """
    folder: Path = tmp_path_factory.mktemp("api")
    limits = {"max_record_bytes": 2000, "max_file_bytes": 300_000, "max_body_bytes": 2 << 20}
    async with run_service(make_settings(folder, database_url, redis_url, **limits)) as running:
        yield running
        assert await undeclared_answers(running.url) == []


@pytest_asyncio.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an admin key of a new organisation."""
    async with service.client() as admin:
        yield admin


@pytest.fixture(autouse=True)
def _forked_checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the API fork the processes that load torch, except in tests that use `new_interpreters`."""
    if "new_interpreters" not in request.fixturenames:
        monkeypatch.setattr(torch_process, "start", forked_checks.start)


@pytest.fixture
def new_interpreters() -> None:
    """The API starts the processes that load torch as it does in production."""
