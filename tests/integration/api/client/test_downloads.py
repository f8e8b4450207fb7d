"""Downloads of checkpoints: they go on after a break, and no wrong byte is kept."""

import hashlib
import os
from pathlib import Path

import httpx
import pytest

from api.client import DigestMismatch, Forbidden, NoAnswer
from tests.integration.api.breaking_line import breaking_line
from tests.integration.api.client.either_client import EitherClient, Kind, either_client
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.worker_actions import claim_job, finish_job
from tests.integration.storage.content import chunks

WEIGHTS = os.urandom(1 << 20)
FILES = {"config.json": b"{}", "empty.txt": b"", "folder/model.safetensors": WEIGHTS}
PART = f"model.safetensors.{hashlib.sha256(WEIGHTS).hexdigest()[:12]}.part"


async def deliver(service: Service, client: httpx.AsyncClient, *, verdict: str = "passed") -> str:
    """Finishes a job with the files and returns its checkpoint."""
    await register_ready_model(service, client)
    answer = await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})
    job = answer.json()["id"]
    return await finish_job(service, job, await claim_job(service, job), FILES, verdict=verdict)


def content(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


async def test_a_download_is_checked_and_is_not_repeated(
    service: Service, client: httpx.AsyncClient, either: EitherClient, tmp_path: Path
) -> None:
    checkpoint = await deliver(service, client)
    received: list[int] = []
    for _ in range(2):
        received.clear()
        done = await either.call(
            either.client.checkpoints.download, checkpoint, tmp_path / "out", received=received.append
        )
        assert (done.id, sum(received)) == (checkpoint, sum(map(len, FILES.values())))
        assert content(tmp_path / "out") == FILES
    entries = (await client.get("/v1/audit", params={"action": "checkpoint.downloaded"})).json()["data"]
    assert len(entries) == 2  # each file with bytes, once


async def test_a_broken_download_goes_on_where_it_broke_off(
    service: Service, client: httpx.AsyncClient, kind: Kind, key: str, tmp_path: Path
) -> None:
    checkpoint = await deliver(service, client)
    async with (
        breaking_line(service.url, "/model.safetensors", cut=700_000) as line,
        either_client(kind, line.url, key) as either,
    ):
        await either.call(either.client.checkpoints.download, checkpoint, tmp_path)
    assert content(tmp_path) == FILES
    first, second = line.ranges
    assert first == "all"
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) < 700_000


async def test_another_process_goes_on_with_a_part(
    service: Service, client: httpx.AsyncClient, kind: Kind, key: str, tmp_path: Path
) -> None:
    checkpoint = await deliver(service, client)
    part = tmp_path / "folder" / PART
    part.parent.mkdir()
    part.write_bytes(WEIGHTS[:1000])
    async with (
        breaking_line(service.url, "/model.safetensors", cut=1 << 30) as line,
        either_client(kind, line.url, key) as either,
    ):
        await either.call(either.client.checkpoints.download, checkpoint, tmp_path)
    assert (line.ranges, content(tmp_path)) == (["bytes=1000-"], FILES)


async def test_a_changed_byte_is_refused_by_the_files_name(
    service: Service, client: httpx.AsyncClient, either: EitherClient, tmp_path: Path
) -> None:
    checkpoint = await deliver(service, client)
    changed = bytes([WEIGHTS[0] ^ 1]) + WEIGHTS[1:]
    job = (await client.get(f"/v1/checkpoints/{checkpoint}")).json()["job"]
    await service.context.storage.write(f"checkpoints/{job}/1/folder/model.safetensors", chunks(changed))
    with pytest.raises(DigestMismatch, match=r"^folder/model.safetensors has the sha256") as refused:
        await either.call(either.client.checkpoints.download, checkpoint, tmp_path)
    assert (refused.value.stated, refused.value.found) == tuple(
        hashlib.sha256(data).hexdigest() for data in (WEIGHTS, changed)
    )
    assert content(tmp_path) == {name: FILES[name] for name in ("config.json", "empty.txt")}


async def test_a_part_with_a_wrong_byte_is_refused_and_the_next_download_begins_anew(
    service: Service, client: httpx.AsyncClient, either: EitherClient, tmp_path: Path
) -> None:
    checkpoint = await deliver(service, client)
    part = tmp_path / "folder" / PART
    part.parent.mkdir()
    part.write_bytes(b"wrong")
    with pytest.raises(DigestMismatch):
        await either.call(either.client.checkpoints.download, checkpoint, tmp_path)
    await either.call(either.client.checkpoints.download, checkpoint, tmp_path)
    assert content(tmp_path) == FILES


async def test_a_checkpoint_that_waits_for_its_release_leaves_nothing(
    service: Service, client: httpx.AsyncClient, kind: Kind, tmp_path: Path
) -> None:
    checkpoint = await deliver(service, client, verdict="failed")
    reader = (await client.post("/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]})).json()["key"]
    async with either_client(kind, service.url, reader) as either:
        with pytest.raises(Forbidden) as refused:
            await either.call(either.client.checkpoints.download, checkpoint, tmp_path)
    assert refused.value.problem == "not-released"
    officer = (await client.post("/v1/keys", json={"name": "officer", "scopes": ["release:write"]})).json()["key"]
    async with either_client(kind, service.url, officer) as either:
        released = await either.call(either.client.checkpoints.release, checkpoint, "read by hand")
    assert released.released


async def test_a_service_that_is_gone_ends_the_attempts(kind: Kind, tmp_path: Path) -> None:
    async with either_client(kind, "http://127.0.0.1:9", "ulk_none") as either:
        with pytest.raises(NoAnswer, match="ConnectError"):
            await either.call(either.client.checkpoints.download, "ckpt-0", tmp_path)
    assert content(tmp_path) == {}
