"""The examples of docs/client.md, run one after the other against the service."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.client import UnlearningClient
from api.client.resource import Resource, operation, stream
from tests.integration.api.model_directory import write_model
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.worker_actions import claim_job, finish_job

PAGE = (Path(__file__).parents[4] / "docs" / "client.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@contextlib.asynccontextmanager
async def worker(service: Service, client: httpx.AsyncClient) -> AsyncIterator[None]:
    """Finishes every job that is submitted in the block, and cancels every measurement."""

    async def work() -> None:
        while True:
            for job in (await client.get("/v1/jobs", params={"status": "queued"})).json()["data"]:
                await finish_job(service, job["id"], await claim_job(service, job["id"]), {"config.json": b"{}"})
            for measurement in (await client.get("/v1/measurements", params={"status": "queued"})).json()["data"]:
                await client.post(f"/v1/measurements/{measurement['id']}/cancel")
            await asyncio.sleep(0.05)

    working = asyncio.create_task(work())
    try:
        yield
    finally:
        working.cancel()


async def test_every_example_of_the_page_runs(
    service: Service,
    client: httpx.AsyncClient,
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await register_ready_model(service, client)
    monkeypatch.setenv("UNLEARN_URL", service.url)
    monkeypatch.setenv("UNLEARN_KEY", key)
    monkeypatch.chdir(tmp_path)
    for name in ("forget", "retain", "unseen"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"text": "{name} record"}}\n')
    directory = write_model(service.roots / "mine")
    namespace: dict[str, Any] = {}
    async with worker(service, client):
        for example in EXAMPLES:
            code = compile(example.replace("/models/mine", str(directory)), "docs/client.md", "exec")
            await asyncio.wait_for(asyncio.to_thread(exec, code, namespace), 60)
    printed = capsys.readouterr().out
    jobs = (await client.get("/v1/jobs")).json()["data"]
    assert len(jobs) == 3
    for words in (
        "succeeded passed ckpt-",
        "1 created {",
        "ready\n",
        "\nulk_",
        "cancelled None\n",
        "'beta'",
        "422 unknown-method ['/method'",
    ):
        assert words in printed
    written = {name for name in os.listdir(tmp_path) if not name.endswith(".jsonl")}
    assert written == {"checkpoints", *(f"{job['id']}.pdf" for job in jobs)}


def test_the_page_names_every_method_of_every_resource() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.split("## Resources")[1].split("## ")[0], re.MULTILINE))
    with UnlearningClient("http://127.0.0.1:9", "none") as client:
        resources = {name: type(resource) for name, resource in vars(client).items() if isinstance(resource, Resource)}
    assert set(listed) == set(resources)
    for name, resource in resources.items():
        methods = {it for it, value in vars(resource).items() if isinstance(value, operation | stream)}
        assert set(re.findall(r"`(\w+)`", listed[name])) - {"json", "html", "pdf"} == methods
