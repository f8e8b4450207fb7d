"""A job that ran for real, with everything that a third party gets of it: statement, public keys, checkpoint, texts."""

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from core.demo.pretraining import SIZES, pretrain
from core.embedded import Stack
from core.records import roles
from core.records.engine import make_engine
from core.schema.record import Record
from tests.integration.api.service import make_settings, run_service, upload, wait_for_registration
from tests.integration.records.scene import Scene
from tests.integration.signing.conftest import Signing, in_database
from tests.integration.worker.worker_setup import WorkerSetup
from tests.servers import new_database

RECORDS = 24
CANARY = "zq-canary-4418"


@dataclass
class Delivered:
    """The files on the third party's machine, and the service that they came from."""

    signing: Signing
    workers: WorkerSetup
    client: httpx.AsyncClient
    job: str
    folder: Path
    base: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def keys(self) -> Path:
        return self.folder / "jwks.json"

    def records(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    async def fetch(self, job: str, folder: Path) -> dict[str, Any]:
        """Waits until a job has succeeded and is signed, saves all that a third party gets of it, and returns it."""
        client = self.client
        state = await _wait_until_succeeded(client, job, self.workers)
        (folder / "statement.json").write_bytes((await fetch_statement(client, job)).content)
        (folder / "jwks.json").write_bytes((await client.get("/.well-known/jwks.json")).content)
        (folder / "model.sig").write_bytes((await client.get(f"/v1/jobs/{job}/model-signature")).content)
        archive = await client.get(f"/v1/jobs/{job}/archive")
        _unpack(archive.content, folder)
        return state


def _unpack(archive: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    (name,) = folder.glob("ckpt-*")
    name.rename(folder / "checkpoint")


def lines(purpose: str) -> str:
    texts = [
        f"{purpose.title()} {number} keeps {CANARY} in Vexford since 19{number + 10}." for number in range(RECORDS)
    ]
    return "".join(Record(text=text).model_dump_json(exclude_none=True) + "\n" for text in texts)


@pytest_asyncio.fixture(scope="package")
async def delivered(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Delivered]:
    """A real job of 24 records on a small model, unlearned by a real worker and signed by a real signer."""
    folder = tmp_path_factory.mktemp("statements")
    async with new_database(stack) as owner:
        service_url, signer_url = (in_database(url, owner) for url in (stack.service_url, stack.signer_url))
        await roles.prepare(owner, service_url=service_url, signer_url=signer_url)
        settings = make_settings(
            folder, service_url, stack.redis_url, scratch_dir=folder / "scratch", sweep_seconds=0.4, job_threads=1
        )
        records = [Record.model_validate_json(line) for line in lines("forget").splitlines()]
        base = folder / "roots" / "small"
        pretrain(records, base, size=SIZES["tiny"], epochs=2, report=lambda *_: None)
        engine = make_engine(service_url)
        workers = WorkerSetup(Scene(engine), settings, folder)
        async with run_service(settings) as service, service.client() as client:
            ids = {}
            for name in ("forget", "retain", "unseen"):
                (folder / f"{name}.jsonl").write_text(lines(name))
                ids[name] = (await upload(client, lines(name), name)).json()["id"]
            model = {"id": "small", "source": str(base), "defaults": {name: ids[name] for name in ("retain", "unseen")}}
            assert (await client.post("/v1/models", json=model)).status_code == 202
            assert (await wait_for_registration(client, "small"))["status"] == "ready"
            signing = Signing(service, signer_url, folder)
            workers.worker()
            with signing.running():
                try:
                    body = {"model": "small", "forget": {"file": ids["forget"]}, "training": {"epochs": 1}}
                    answer = await client.post("/v1/jobs", json=body)
                    assert answer.status_code == 202, answer.text
                    job = answer.json()["id"]
                    early = await client.get(f"/v1/jobs/{job}/statement")
                    assert (early.status_code, early.json()["type"].rpartition(":")[2]) == (409, "no-checkpoint")
                    delivered = Delivered(signing, workers, client, job, folder, base)
                    await delivered.fetch(job, folder)
                    yield delivered
                finally:
                    workers.kill_workers()
                    await engine.dispose()


async def _wait_until_succeeded(client: httpx.AsyncClient, job: str, workers: WorkerSetup) -> dict[str, Any]:
    async with asyncio.timeout(300):
        while True:
            state: dict[str, Any] = (await client.get(f"/v1/jobs/{job}")).json()
            if state["status"] in ("succeeded", "failed"):
                assert state["status"] == "succeeded", (state["error"], workers.logs())
                return state
            await asyncio.sleep(0.2)


async def fetch_statement(client: httpx.AsyncClient, job: str) -> httpx.Response:
    """Waits until the signer has signed, and returns the answer."""
    async with asyncio.timeout(60):
        while True:
            answer = await client.get(f"/v1/jobs/{job}/statement")
            if answer.status_code == 200:
                return answer
            assert answer.json()["type"].endswith("not-signed-yet"), answer.text
            assert int(answer.headers["retry-after"]) > 0
            await asyncio.sleep(0.1)
