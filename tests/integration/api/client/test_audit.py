"""The audit log through the clients: filtered, and exported as a file that `unlearn verify` reads."""

import os
from pathlib import Path

import httpx

from core.evidence.audit_log import check_audit_log
from tests.integration.api.breaking_line import breaking_line
from tests.integration.api.client.either_client import EitherClient, Kind, either_client
from tests.integration.api.service import Service, upload_records

ENTRIES = 8


async def write_entries(client: httpx.AsyncClient) -> None:
    for _ in range(ENTRIES):
        await upload_records(client, "forget")


async def test_entries_are_listed_by_action(client: httpx.AsyncClient, either: EitherClient) -> None:
    await write_entries(client)
    page = await either.call(either.client.audit.page, limit=3, action="file.uploaded")
    assert ([entry.action for entry in page.data], page.has_more) == (["file.uploaded"] * 3, True)
    entries = await either.items(either.client.audit.list, action="file.uploaded")
    assert len(entries) == ENTRIES
    assert page.head.hash == entries[0].hash


async def test_an_export_over_a_line_that_breaks_is_whole(
    service: Service, client: httpx.AsyncClient, kind: Kind, key: str, tmp_path: Path
) -> None:
    await write_entries(client)
    file = tmp_path / "audit.jsonl"
    async with (
        breaking_line(service.url, "/v1/audit/export", cut=1900) as line,
        either_client(kind, line.url, key) as either,
    ):
        newest = await either.call(either.client.audit.export, file)
    assert len(line.ranges) == 2
    assert file.read_bytes() == (await client.get("/v1/audit/export")).content
    with file.open("rb") as lines:
        assert check_audit_log(lines).holds
    assert newest.hash == (await client.get("/v1/audit")).json()["head"]["hash"]
    assert os.listdir(tmp_path) == ["audit.jsonl"]


async def test_an_export_after_the_newest_entry_is_empty(
    client: httpx.AsyncClient, either: EitherClient, tmp_path: Path
) -> None:
    await write_entries(client)
    seq = (await client.get("/v1/audit")).json()["head"]["seq"]
    assert await either.call(either.client.audit.export, tmp_path / "audit.jsonl", after=seq) is None
    assert (tmp_path / "audit.jsonl").read_bytes() == b""
    newest = await either.call(either.client.audit.export, tmp_path / "audit.jsonl", after=seq - 1)
    assert newest.seq == seq
