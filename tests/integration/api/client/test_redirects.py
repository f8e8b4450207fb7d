"""Redirects: a download follows them without its key, and no other call takes them for an answer."""

import os
from pathlib import Path

import pytest

from api.client import UnexpectedAnswer
from tests.integration.api.client.described_file import CONTENT, FILE, SHA256
from tests.integration.api.client.either_client import Kind, either_client
from tests.integration.api.client.scripted_server import http_answer, scripted_server

ELSEWHERE = "https://user:word@unlearn.example/v1/files/file-0?token=1"


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
async def test_a_redirect_is_not_taken_for_success(kind: Kind, tmp_path: Path, status: str) -> None:
    async with (
        scripted_server(http_answer(status, b"<html>moved</html>", Location=ELSEWHERE)) as proxy,
        either_client(kind, proxy.url, "ulk_x") as either,
    ):
        with pytest.raises(UnexpectedAnswer, match=r"redirects to https://unlearn\.example: ") as refused:
            await either.call(either.client.files.delete, "file-0")
        with pytest.raises(UnexpectedAnswer):
            await either.call(either.client.statements.download_keys, tmp_path / "jwks.json")
        with pytest.raises(UnexpectedAnswer):
            await either.items(either.client.jobs.follow, "job-0")
        with pytest.raises(UnexpectedAnswer):
            await either.call(either.client.audit.export, tmp_path / "audit.jsonl")
    assert "word" not in str(refused.value)
    assert os.listdir(tmp_path) == []
    assert len(proxy.requests) == 4


async def test_a_redirect_to_nowhere_is_refused(kind: Kind) -> None:
    async with (
        scripted_server(http_answer("304 Not Modified"), http_answer("300 Multiple Choices")) as proxy,
        either_client(kind, proxy.url, "ulk_x") as either,
    ):
        with pytest.raises(UnexpectedAnswer, match="300"):
            await either.call(either.client.jobs.wait, "job-0")
    assert len(proxy.requests) == 2


async def test_a_download_follows_a_redirect_without_its_key_and_goes_on_there(kind: Kind, tmp_path: Path) -> None:
    half = len(CONTENT) // 2
    rest = http_answer(
        "206 Partial Content", CONTENT[half:], Content_Range=f"bytes {half}-{len(CONTENT) - 1}/{len(CONTENT)}"
    )
    async with scripted_server(http_answer("200 OK", CONTENT[:half], length=len(CONTENT)), rest) as store:
        moved = http_answer("307 Temporary Redirect", Location=f"{store.url}/bucket/file-0?signature=1")
        async with (
            scripted_server(http_answer("200 OK", FILE), moved) as service,
            either_client(kind, service.url, "ulk_secret") as either,
        ):
            await either.call(either.client.files.download, "file-0", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == CONTENT
    assert all("authorization: bearer ulk_secret" in head.lower() for head in service.requests)
    first, second = (head.lower() for head in store.requests)
    assert "authorization" not in first + second
    assert "ulk_secret" not in first + second
    assert "range:" not in first
    assert f"range: bytes={half}-\r\n" in second
    assert f'if-range: "{SHA256}"\r\n' in second


async def test_a_download_in_a_circle_of_redirects_is_refused(kind: Kind, tmp_path: Path) -> None:
    circle = http_answer("307 Temporary Redirect", Location="/again")
    async with (
        scripted_server(http_answer("200 OK", FILE), circle) as service,
        either_client(kind, service.url, "ulk_x") as either,
    ):
        with pytest.raises(UnexpectedAnswer, match="TooManyRedirects"):
            await either.call(either.client.files.download, "file-0", tmp_path / "a.txt")
