"""Files in the making: no two writers write to the same."""

import fcntl
import os
from pathlib import Path

import pytest

from api.client import PartInUse
from tests.integration.api.client.described_file import CONTENT, FILE, SHA256
from tests.integration.api.client.either_client import Kind, either_client
from tests.integration.api.client.scripted_server import http_answer, scripted_server

PART = f"a.txt.{SHA256[:12]}.part"


async def test_a_part_that_another_download_writes_is_left_alone(kind: Kind, tmp_path: Path) -> None:
    part, target = tmp_path / PART, tmp_path / "a.txt"
    rest = http_answer("206 Partial Content", CONTENT[10:])
    async with (
        scripted_server(http_answer("200 OK", FILE), http_answer("200 OK", FILE), rest) as service,
        either_client(kind, service.url, "ulk_x") as either,
    ):
        with open(part, "ab") as other:  # noqa: ASYNC230
            fcntl.flock(other, fcntl.LOCK_EX)
            other.write(CONTENT[:10])
            other.flush()
            with pytest.raises(PartInUse, match=PART):
                await either.call(either.client.files.download, "file-0", target)
            assert part.read_bytes() == CONTENT[:10]
        await either.call(either.client.files.download, "file-0", target)
    assert target.read_bytes() == CONTENT
    assert len(service.requests) == 3


async def test_what_another_process_saves_at_the_same_place_is_left_alone(kind: Kind, tmp_path: Path) -> None:
    others = [f".{name}.part" for name in ("jwks.json", "audit.jsonl")]
    for name in others:
        (tmp_path / name).write_text("of another process")
    keys = http_answer("200 OK", b'{"keys": []}')
    async with (
        scripted_server(keys, http_answer("200 OK")) as service,
        either_client(kind, service.url, "ulk_x") as either,
    ):
        await either.call(either.client.statements.download_keys, tmp_path / "jwks.json")
        await either.call(either.client.audit.export, tmp_path / "audit.jsonl")
    assert [(tmp_path / name).read_text() for name in others] == ["of another process"] * 2
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "jwks.json", "audit.jsonl"])
    assert (tmp_path / "jwks.json").read_bytes() == b'{"keys": []}'
