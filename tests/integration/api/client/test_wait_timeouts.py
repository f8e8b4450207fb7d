"""Waits with a limit, on a service that asks to come back later."""

import asyncio

import pytest

from api.client import Retries, Unavailable, WaitTimeout
from tests.integration.api.client.either_client import Kind, either_client
from tests.integration.api.client.scripted_server import http_answer, scripted_server

PATIENT = Retries(attempts=3, first_pause=30.0)


@pytest.mark.parametrize("headers", [{"Retry-After": "60"}, {}])
@pytest.mark.parametrize("resource", ["jobs", "models", "measurements"])
async def test_a_pause_before_another_attempt_ends_with_the_wait(
    kind: Kind, resource: str, headers: dict[str, str]
) -> None:
    async with (
        scripted_server(http_answer("503 Service Unavailable", **headers)) as server,
        either_client(kind, server.url, "ulk_x", PATIENT) as either,
    ):
        wait = getattr(either.client, resource).wait
        with pytest.raises(WaitTimeout, match="some-id"):
            await asyncio.wait_for(either.call(wait, "some-id", seconds=0.2), 60)
    assert len(server.requests) == 1


async def test_a_wait_whose_attempts_are_over_before_its_time_raises_their_failure(kind: Kind) -> None:
    async with (
        scripted_server(http_answer("503 Service Unavailable")) as server,
        either_client(kind, server.url, "ulk_x") as either,
    ):
        with pytest.raises(Unavailable):
            await either.call(either.client.jobs.wait, "some-id", seconds=60)
    assert len(server.requests) == 3
