"""Answers of a proxy before the service."""

import pytest

from api.client import Unavailable
from tests.integration.api.client.either_client import Kind, either_client
from tests.integration.api.client.scripted_server import http_answer, scripted_server

UNAVAILABLE = http_answer("503 Service Unavailable", b"<html>upstream prematurely closed connection</html>")


async def test_an_action_that_a_proxy_may_have_passed_on_is_sent_once(kind: Kind) -> None:
    async with scripted_server(UNAVAILABLE) as proxy, either_client(kind, proxy.url, "ulk_x") as either:
        for action in (either.client.jobs.cancel, either.client.jobs.retry):
            with pytest.raises(Unavailable):
                await either.call(action, "job-0")
        with pytest.raises(Unavailable):
            await either.call(either.client.jobs.extend, "job-0", "forty requests came in at once")
        with pytest.raises(Unavailable):
            await either.call(either.client.checkpoints.release, "ckpt-0", "read by hand")
        assert len(proxy.requests) == 4
        with pytest.raises(Unavailable):
            await either.call(either.client.jobs.get, "job-0")
    assert len(proxy.requests) == 4 + 3
