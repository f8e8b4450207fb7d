"""A job that ran for real: API, worker and child process, from the request to the report."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from core.demo.pretraining import SIZES, pretrain
from core.embedded import Stack
from core.records.engine import make_engine
from core.schema.record import Record
from tests.integration.api.service import Service, make_settings, run_service, upload, wait_for_registration
from tests.integration.records.scene import Scene
from tests.integration.worker.worker_setup import WorkerSetup
from tests.servers import new_database

CANARY = "zq-canary-7731"
"""A word of every record of every set, which must appear nowhere else."""
RECORDS = 24
REFERENCE = "DSR-2026-0142"


@dataclass
class ReportedJob:
    """A job that has ended, with a client that may read it."""

    service: Service
    client: httpx.AsyncClient
    job: dict[str, Any]

    @property
    def path(self) -> str:
        return f"/v1/jobs/{self.job['id']}/report"


def lines(purpose: str) -> str:
    texts = [
        f"{purpose.title()} {number} keeps {CANARY} in Vexford since 19{number + 10}." for number in range(RECORDS)
    ]
    return "".join(Record(text=text).model_dump_json(exclude_none=True) + "\n" for text in texts)


@pytest_asyncio.fixture(scope="package")
async def reported(
    stack: Stack, template_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ReportedJob]:
    """A real job of 24 records on a small model."""
    folder = tmp_path_factory.mktemp("reports")
    async with new_database(stack, template=template_url) as url:
        settings = make_settings(folder, url, stack.redis_url, scratch_dir=folder / "scratch", sweep_seconds=0.4)
        records = [Record.model_validate_json(line) for line in lines("forget").splitlines()]
        pretrain(records, folder / "roots" / "small", size=SIZES["tiny"], epochs=2, report=lambda *_: None)
        engine = make_engine(url)
        workers = WorkerSetup(Scene(engine), settings, folder)
        async with run_service(settings) as service, service.client(organisation="Test House") as client:
            ids = {}
            for purpose in ("forget", "retain", "unseen"):
                ids[purpose] = (await upload(client, lines(purpose), purpose)).json()["id"]
            model = {"id": "small", "source": str(folder / "roots" / "small"), "training_tokens": 100_000}
            defaults = {name: ids[name] for name in ("retain", "unseen")}
            assert (await client.post("/v1/models", json={**model, "defaults": defaults})).status_code == 202
            assert (await wait_for_registration(client, "small"))["status"] == "ready"
            workers.worker()
            try:
                body = {
                    "model": "small",
                    "forget": {"file": ids["forget"]},
                    "training": {"epochs": 1},
                    "external_reference": REFERENCE,
                    "due": "2126-12-20",
                }
                answer = await client.post("/v1/jobs", json=body)
                assert answer.status_code == 202, answer.text
                yield ReportedJob(service, client, await _wait_until_ended(client, answer.json()["id"], workers))
            finally:
                workers.kill_workers()
                await engine.dispose()


async def _wait_until_ended(client: httpx.AsyncClient, job: str, workers: WorkerSetup) -> dict[str, Any]:
    async with asyncio.timeout(300):
        while True:
            state: dict[str, Any] = (await client.get(f"/v1/jobs/{job}")).json()
            if state["status"] in ("succeeded", "failed"):
                assert state["status"] == "succeeded", (state["error"], workers.logs())
                return state
            await asyncio.sleep(0.2)
