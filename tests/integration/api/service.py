"""The API on a real socket, in this process, against the real servers."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from api.auth import hash_key, key_prefix, new_api_key
from api.dependencies import Context
from api.main import create_app
from core.records import keys
from core.settings import Settings
from tests.integration.api.model_directory import write_model


@dataclass
class Service:
    """A running API with its address, its app and its settings."""

    url: str
    app: FastAPI
    settings: Settings
    roots: Path

    @property
    def context(self) -> Context:
        context: Context = self.app.state.context
        return context

    @property
    def sessions(self) -> async_sessionmaker[AsyncSession]:
        return self.context.sessions

    async def key(self, *scopes: str, organisation: str) -> str:
        """Creates a key of an organisation, as the command line does."""
        key = new_api_key()
        async with self.sessions.begin() as session:
            await keys.add(
                session,
                organisation=await keys.get_or_create_organisation(session, organisation),
                name="test",
                prefix=key_prefix(key),
                hash=hash_key(key, self.context.service_key),
                scopes=scopes or ("admin",),
            )
        return key

    @asynccontextmanager
    async def client(self, *scopes: str, organisation: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """Yields a client with a new key of the organisation; without a name, of a new organisation."""
        key = await self.key(*scopes, organisation=organisation or uuid4().hex)
        async with httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=60
        ) as client:
            yield client


def make_settings(folder: Path, database_url: str, redis_url: str, **more: Any) -> Settings:
    """Returns settings of a service with its files in `folder`."""
    service_key = folder / "service.key"
    if not service_key.exists():
        service_key.write_text(base64.b64encode(os.urandom(32)).decode())
    (folder / "roots").mkdir(exist_ok=True)
    defaults = {"model_roots": [folder / "roots"], "model_cache": folder / "hub", "rate_limit_per_minute": 0}
    defaults |= {"key_store_url": f"file://{folder}/keys", **more}
    return Settings(database_url=database_url, redis_url=redis_url, service_key_file=service_key, **defaults)


@asynccontextmanager
async def run_service(settings: Settings) -> AsyncIterator[Service]:
    """Runs the API with these settings on a free port until the block ends."""
    app = create_app(settings)
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="error", access_log=False, timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            await task
            raise RuntimeError("the server did not start")
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Service(f"http://127.0.0.1:{port}", app, settings, settings.model_roots[0])
    finally:
        server.should_exit = True
        await task


async def upload(
    client: httpx.AsyncClient, text: str | bytes, purpose: str = "forget", name: str = "a.jsonl"
) -> httpx.Response:
    return await client.post("/v1/files", data={"purpose": purpose}, files={"file": (name, text)})


async def wait_until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    """Waits until the condition holds, which no event announces. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(0.01)


async def upload_records(client: httpx.AsyncClient, purpose: str, *, records: int = 3) -> str:
    """Uploads a file of a few records and returns its id."""
    lines = "".join(f'{{"text": "{purpose} record {number}"}}\n' for number in range(records))
    answer = await upload(client, lines, purpose)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def wait_for_registration(client: httpx.AsyncClient, model: str) -> dict[str, Any]:
    """Waits until the registration is over and returns the model."""
    async with asyncio.timeout(120):
        while True:
            registered: dict[str, Any] = (await client.get(f"/v1/models/{model}")).json()
            if registered["status"] != "fetching":
                return registered
            await asyncio.sleep(0.02)


async def register_ready_model(
    service: Service, client: httpx.AsyncClient, name: str = "demo", **more: Any
) -> dict[str, Any]:
    """Registers a small model, by default with retain and unseen files as its defaults."""
    if "defaults" not in more:
        more["defaults"] = {name: await upload_records(client, name) for name in ("retain", "unseen")}
    directory = write_model(service.roots / uuid4().hex)
    answer = await client.post("/v1/models", json={"id": name, "source": str(directory), **more})
    assert answer.status_code == 202, answer.text
    model = await wait_for_registration(client, name)
    assert model["status"] == "ready", model
    return model
