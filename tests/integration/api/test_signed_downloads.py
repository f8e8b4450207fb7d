"""Downloads that the service sends on to its object store, a real one."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import update

from api.client import UnlearningClient
from core.records.tables import CheckpointRow
from tests.hub_clients import CLIENTS, run_client
from tests.hub_clients import Client as HubClient
from tests.integration.api.service import Service, make_settings, register_ready_model, run_service
from tests.integration.api.worker_actions import claim_job, finish_job
from tests.object_stores import ObjectStore, s3_server, why_no_s3

WEIGHTS = os.urandom(9 << 20)
FILES = {"config.json": b"{}", "empty.txt": b"", "model.safetensors": WEIGHTS}


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStore]:
    if reason := why_no_s3():
        pytest.skip(reason)
    with s3_server() as store:
        yield store


@dataclass
class Delivered:
    """A service on S3 with one finished job of an organisation."""

    service: Service
    store: ObjectStore
    organisation: str
    job: str
    checkpoint: str
    token: str

    @property
    def file(self) -> str:
        return f"{self.service.url}/v1/checkpoints/{self.checkpoint}/files/model.safetensors"

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(headers={"Authorization": f"Bearer {self.token}"}, timeout=60)


@pytest_asyncio.fixture
async def delivered(
    s3: ObjectStore, database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Delivered]:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    settings = make_settings(
        tmp_path, database_url, redis_url, storage_url=s3.new_prefix(), signed_url_seconds=60, sweep_seconds=600
    )
    organisation = uuid4().hex
    async with run_service(settings) as service, service.client(organisation=organisation) as client:
        await register_ready_model(service, client)
        answer = await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})
        job = answer.json()["id"]
        checkpoint = await finish_job(service, job, await claim_job(service, job), FILES)
        token = client.headers["Authorization"].removeprefix("Bearer ")
        yield Delivered(service, s3, organisation, job, checkpoint, token)


async def test_a_download_is_sent_on_to_the_store_with_its_digest(delivered: Delivered) -> None:
    async with delivered.client() as client:
        answer = await client.get(delivered.file)
        assert (answer.status_code, answer.headers["cache-control"], answer.content) == (307, "no-store", b"")
        assert answer.headers["etag"] == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
        location = answer.headers["location"]
        assert location.startswith(delivered.store.environment["AWS_ENDPOINT"])
        assert "X-Amz-Expires=60&" in location
        followed = await client.get(delivered.file, headers={"Range": "bytes=5-9"}, follow_redirects=True)
        assert (followed.status_code, followed.content) == (206, WEIGHTS[5:10])
        entries = (await client.get(f"{delivered.service.url}/v1/audit")).json()["data"]
    downloads = [entry["details"] for entry in entries if entry["action"] == "checkpoint.downloaded"]
    assert downloads == [{"path": "model.safetensors", "part": part} for part in (True, False)]
    async with httpx.AsyncClient(timeout=60) as anybody:
        assert (await anybody.get(location)).content == WEIGHTS


async def test_the_service_answers_validators_scripts_of_pages_and_archives_itself(delivered: Delivered) -> None:
    async with delivered.client() as client:
        head = await client.head(delivered.file)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(WEIGHTS)))
        etag = head.headers["etag"]
        assert (await client.get(delivered.file, headers={"If-None-Match": etag})).status_code == 304
        part = await client.get(delivered.file, headers={"If-Range": etag, "Range": "bytes=0-4"})
        assert (part.status_code, part.content) == (206, WEIGHTS[:5])
        script = await client.get(delivered.file, headers={"Sec-Fetch-Mode": "cors"})
        assert (script.status_code, script.content) == (200, WEIGHTS)
        archive = await client.get(f"{delivered.service.url}/v1/checkpoints/{delivered.checkpoint}/archive")
        assert archive.status_code == 200


async def test_an_unreleased_checkpoint_gets_no_url(delivered: Delivered) -> None:
    async with delivered.service.sessions.begin() as session:
        change = update(CheckpointRow).where(CheckpointRow.id == delivered.checkpoint).values(released=False)
        await session.execute(change)
    async with delivered.service.client("jobs:read", organisation=delivered.organisation) as reader:
        assert (await reader.get(delivered.file)).status_code == 403


async def test_the_client_of_the_service_follows_and_checks_the_digests(delivered: Delivered, tmp_path: Path) -> None:
    with UnlearningClient(delivered.service.url, delivered.token) as client:
        await asyncio.to_thread(client.checkpoints.download, delivered.checkpoint, tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == FILES


@pytest.mark.parametrize("client", [*CLIENTS, "transformers-4"])
async def test_the_clients_of_the_hub_follow(delivered: Delivered, client: HubClient, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    body = """
folder = snapshot_download(repository)
return {name: len(open(os.path.join(folder, name), "rb").read()) for name in sorted(os.listdir(folder))}
"""
    repository = f"{delivered.organisation}/{delivered.job}"
    endpoint = f"{delivered.service.url}/hub"
    answer = await run_client(
        client, body, repository, home=tmp_path / "home", endpoint=endpoint, token=delivered.token
    )
    assert answer["result"] == {name: len(content) for name, content in FILES.items()}
