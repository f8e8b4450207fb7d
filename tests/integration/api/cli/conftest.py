"""The command against the running API."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from api.cli.app import app
from tests.integration.api.cli.command import Run, separate_log
from tests.integration.api.service import Service


@pytest.fixture(autouse=True)
def service_log() -> Iterator[None]:
    """Keeps the log of the service, which runs in the same process, out of the command's output."""
    with separate_log():
        yield


@pytest.fixture
def unlearn(service: Service, client: httpx.AsyncClient) -> Run:
    """Runs the command, by default with the client's key."""

    async def run(*arguments: str, key: str | None = None) -> Result:
        client_key = client.headers["authorization"].removeprefix("Bearer ")
        environment = {"UNLEARN_URL": service.url, "UNLEARN_KEY": key or client_key, "COLUMNS": "200"}
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=environment)

    return run
