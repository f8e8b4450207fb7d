import base64
import hashlib
import io
import os
import tarfile
import zipfile

import httpx
import pytest_asyncio
from sqlalchemy import update

from core.records.tables import CheckpointRow
from core.schema.manifest import FileEntry, canonical_json
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.worker_actions import claim_job, finish_job

FILES = {"config.json": b"{}", "sub/empty.txt": b"", "model.safetensors": os.urandom(3 * (1 << 20) + 17)}
WEIGHTS = FILES["model.safetensors"]


@pytest_asyncio.fixture
async def delivered(service: Service, client: httpx.AsyncClient) -> dict[str, str]:
    """The ids of a finished job of the client and of its checkpoint."""
    await register_ready_model(service, client)
    answer = await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})
    job = answer.json()["id"]
    return {"job": job, "checkpoint": await finish_job(service, job, await claim_job(service, job), FILES)}


async def test_a_finished_job_has_its_checkpoint_and_the_model_a_new_head(
    client: httpx.AsyncClient, delivered: dict[str, str]
) -> None:
    job = (await client.get(f"/v1/jobs/{delivered['job']}")).json()
    assert (job["status"], job["outcome"], job["checkpoint"]) == ("succeeded", "unlearned", delivered["checkpoint"])
    checkpoint = (await client.get(job["links"]["checkpoint"])).json()
    entries = [FileEntry.model_validate(entry) for entry in checkpoint["files"]]
    assert [entry.path for entry in entries] == sorted(FILES)
    assert checkpoint["digest"] == hashlib.sha256(canonical_json(entries)).hexdigest()
    assert checkpoint["bytes"] == sum(len(body) for body in FILES.values())
    assert (await client.get(job["links"]["checkpoints"])).json()["data"] == [checkpoint]
    assert (await client.get("/v1/models/demo")).json()["head"] == checkpoint["id"]


async def test_a_file_download_is_complete_and_carries_its_digest(
    client: httpx.AsyncClient, delivered: dict[str, str]
) -> None:
    path = f"/v1/checkpoints/{delivered['checkpoint']}/files"
    for name, body in FILES.items():
        answer = await client.get(f"{path}/{name}")
        digest = hashlib.sha256(body)
        assert (answer.status_code, answer.content) == (200, body)
        assert answer.headers["etag"] == f'"{digest.hexdigest()}"'
        assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        head = await client.head(f"{path}/{name}")
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(body)))
        assert head.headers["etag"] == answer.headers["etag"]
    assert (await client.get(f"{path}/nothing")).status_code == 404
    assert (await client.get(f"{path}/../../x")).status_code == 404


async def test_ranges_return_the_requested_bytes(client: httpx.AsyncClient, delivered: dict[str, str]) -> None:
    path = f"/v1/checkpoints/{delivered['checkpoint']}/files/model.safetensors"
    size, etag = len(WEIGHTS), f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    mebi = 1 << 20
    for byte_range, start, end in (
        ("bytes=0-0", 0, 1),
        (f"bytes={mebi - 1}-{mebi}", mebi - 1, mebi + 1),
        (f"bytes={size - 1}-", size - 1, size),
        ("bytes=-5", size - 5, size),
        (f"bytes=-{2 * size}", 0, size),
        (f"bytes=7-{2 * size}", 7, size),
    ):
        answer = await client.get(path, headers={"Range": byte_range})
        assert answer.status_code == 206, byte_range
        assert answer.content == WEIGHTS[start:end], byte_range
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert answer.headers["content-length"] == str(end - start)
    for ignored in ("bytes=5-3", "bytes=0-1,3-4", "lines=0-1", "bytes=-", "nonsense"):
        assert (await client.get(path, headers={"Range": ignored})).status_code == 200, ignored
    for beyond in (f"bytes={size}-", "bytes=-0"):
        refused = await client.get(path, headers={"Range": beyond})
        assert (refused.status_code, refused.headers["content-range"]) == (416, f"bytes */{size}")
    unchanged = await client.get(path, headers={"Range": "bytes=0-1", "If-Range": etag})
    other = await client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (unchanged.status_code, other.status_code, len(other.content)) == (206, 200, size)
    partial = await client.head(path, headers={"Range": "bytes=0-9"})
    assert (partial.status_code, partial.headers["content-length"]) == (206, "10")
    assert (await client.get(path, headers={"If-None-Match": etag})).status_code == 304


async def test_a_broken_download_is_resumed(client: httpx.AsyncClient, delivered: dict[str, str]) -> None:
    path = f"/v1/checkpoints/{delivered['checkpoint']}/files/model.safetensors"
    received = b""
    async with client.stream("GET", path) as answer:
        async for chunk in answer.aiter_bytes(64 << 10):
            received += chunk
            if len(received) > 1_000_000:
                break
    rest = await client.get(path, headers={"Range": f"bytes={len(received)}-"})
    assert received + rest.content == WEIGHTS


async def test_an_archive_holds_all_files_and_the_manifest(
    client: httpx.AsyncClient, delivered: dict[str, str]
) -> None:
    checkpoint = delivered["checkpoint"]
    about = (await client.get(f"/v1/checkpoints/{checkpoint}")).json()
    for path in (f"/v1/checkpoints/{checkpoint}/archive", f"/v1/jobs/{delivered['job']}/archive"):
        tar = await client.get(path)
        assert tar.headers["content-type"] == "application/x-tar"
        assert int(tar.headers["content-length"]) == len(tar.content)
        with tarfile.open(fileobj=io.BytesIO(tar.content), mode="r:") as archive:
            unpacked = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
        zipped = await client.get(path, params={"format": "zip"})
        with zipfile.ZipFile(io.BytesIO(zipped.content)) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == unpacked
        manifest = unpacked.pop(f"{checkpoint}/manifest.json")
        assert hashlib.sha256(manifest).hexdigest() == about["digest"]
        assert unpacked == {f"{checkpoint}/{name}": body for name, body in FILES.items()}
    assert (await client.get(f"/v1/jobs/{delivered['job']}/archive", params={"format": "rar"})).status_code == 422


async def test_a_job_without_a_checkpoint_has_no_archive(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    answer = await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})
    path = f"/v1/jobs/{answer.json()['id']}"
    assert (await client.get(f"{path}/archive")).status_code == 404
    assert (await client.get(f"{path}/checkpoints")).json()["data"] == []


async def test_missing_bytes_are_404_and_not_an_aborted_answer(
    service: Service, client: httpx.AsyncClient, delivered: dict[str, str]
) -> None:
    await service.context.storage.delete("checkpoints/" + delivered["job"])
    assert (await client.get(f"/v1/checkpoints/{delivered['checkpoint']}/files/config.json")).status_code == 404


async def test_an_unreleased_checkpoint_is_described_but_not_downloaded(
    service: Service, client: httpx.AsyncClient, delivered: dict[str, str]
) -> None:
    async with service.sessions.begin() as session:
        query = update(CheckpointRow).where(CheckpointRow.id == delivered["checkpoint"]).values(released=False)
        await session.execute(query)
    name = (await client.get("/v1/keys/self")).json()["organisation"]
    created = await client.post("/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]})
    releasing = await client.post("/v1/keys", json={"name": "releaser", "scopes": ["jobs:read", "release:write"]})
    assert created.json()["organisation"] == name
    url = f"/v1/checkpoints/{delivered['checkpoint']}"
    for path in (f"{url}/files/config.json", f"{url}/archive", f"/v1/jobs/{delivered['job']}/archive"):
        refused = await client.get(path, headers={"Authorization": f"Bearer {created.json()['key']}"})
        assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (403, "not-released")
        allowed = await client.get(path, headers={"Authorization": f"Bearer {releasing.json()['key']}"})
        assert allowed.status_code == 200
    description = await client.get(url, headers={"Authorization": f"Bearer {created.json()['key']}"})
    assert description.json()["released"] is False


async def test_another_organisations_checkpoint_is_404(service: Service, delivered: dict[str, str]) -> None:
    url = f"/v1/checkpoints/{delivered['checkpoint']}"
    async with service.client() as stranger:
        for path in (url, f"{url}/files/config.json", f"{url}/archive"):
            assert (await stranger.get(path)).status_code == 404
