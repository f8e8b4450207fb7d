"""Requests that cannot be sent, and answers that cannot be read: each is an error of the client, raised at once."""

from pathlib import Path
from socket import create_server

import pytest

from api.client import NotSendable, UnexpectedAnswer
from tests.integration.api.client.either_client import Kind, either_client
from tests.integration.api.client.scripted_server import http_answer, scripted_server


@pytest.mark.parametrize("url", ["localhost:8000", "127.0.0.1:8000", "ftp://127.0.0.1", "http://127.0.0.1:port"])
async def test_a_url_that_cannot_be_used_is_named_as_such(kind: Kind, url: str) -> None:
    with pytest.raises(NotSendable, match=r"URL cannot be used: .*(protocol|port)"):
        async with either_client(kind, url, "ulk_x") as either:
            await either.call(either.client.models.page)


async def test_a_key_that_cannot_be_sent_is_not_shown(kind: Kind) -> None:
    with create_server(("127.0.0.1", 0)) as listening:  # connections are made, and nobody answers
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with either_client(kind, url, "ulk_secret\nX-Other: 1") as either:
            with pytest.raises(NotSendable) as refused:
                await either.call(either.client.models.page)
    assert "secret" not in str(refused.value)


async def test_a_body_that_is_not_of_its_encoding_is_refused(kind: Kind, tmp_path: Path) -> None:
    broken = http_answer("200 OK", b"not compressed", Content_Encoding="gzip")
    async with scripted_server(broken) as proxy, either_client(kind, proxy.url, "ulk_x") as either:
        with pytest.raises(UnexpectedAnswer, match="DecodingError"):
            await either.call(either.client.models.page)
        with pytest.raises(UnexpectedAnswer, match="DecodingError"):
            await either.call(either.client.audit.export, tmp_path / "audit.jsonl")
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("data", [b"{", b"\xff"])
async def test_an_event_that_cannot_be_read_is_refused(kind: Kind, data: bytes) -> None:
    stream = http_answer("200 OK", b"event: phase\ndata: " + data + b"\n\n", Content_Type="text/event-stream")
    async with scripted_server(stream) as proxy, either_client(kind, proxy.url, "ulk_x") as either:
        with pytest.raises(UnexpectedAnswer, match="event"):
            await either.items(either.client.jobs.follow, "job-0")
    assert len(proxy.requests) == 1
