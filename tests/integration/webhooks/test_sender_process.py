"""The sender in a process of its own: it waits for its database, and ends the process where something else is wrong."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from core.embedded import Stack
from core.records.engine import make_engine
from core.records.tables import WebhookDeliveryRow
from core.schema.ids import new_id
from core.settings import Settings
from tests.integration.api.service import make_settings
from tests.integration.records.scene import Scene
from tests.integration.webhooks.receiving import Receiver
from tests.servers import new_database

END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
REFUSING = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this way'; END $$;
    CREATE TRIGGER refusing BEFORE UPDATE ON webhook_deliveries FOR EACH ROW EXECUTE FUNCTION refuse();
"""


class Api:
    """`uvicorn api.main:app_from_environment` on a database of its own."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{port}", folder / "api.log"
        environment = {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "REDIS_URL": settings.redis_url.get_secret_value(),
            "SERVICE_KEY_FILE": str(settings.service_key_file),
            "WEBHOOK_ALLOW": '["127.0.0.1"]',
        }
        command = [sys.executable, "-m", "uvicorn", "api.main:app_from_environment", "--factory", "--port", str(port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)

    async def wait_ready(self) -> None:
        async with asyncio.timeout(90), httpx.AsyncClient(timeout=60) as client:
            while True:
                try:
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.1)

    async def exit_code(self) -> int:
        async with asyncio.timeout(60):
            while (code := self.process.poll()) is None:  # noqa: ASYNC110 - another process ends
                await asyncio.sleep(0.1)
        return code


@asynccontextmanager
async def running_api(
    stack: Stack, template_url: str, redis_url: str, folder: Path
) -> AsyncIterator[tuple[Api, AsyncEngine]]:
    async with new_database(stack, template=template_url) as url:
        engine = make_engine(url)
        api = Api(make_settings(folder, url, redis_url), folder)
        try:
            await api.wait_ready()
            yield api, engine
        finally:
            api.process.kill()
            api.process.wait()
            await engine.dispose()


async def add_message(engine: AsyncEngine, url: str) -> str:
    """Writes a message that is due; returns its id."""
    scene = await Scene(engine).create()
    await scene.model()
    job = await scene.job()
    row = WebhookDeliveryRow(
        id=new_id("delivery"),
        organisation=scene.organisation,
        job=job,
        type="job.cancelled",
        url=url,
        sealed_secret=bytes(64),
        data={},
    )
    async with scene.sessions.begin() as session:
        session.add(row)
    return row.id


async def attempts(engine: AsyncEngine, delivery: str) -> list[dict[str, object]]:
    """Waits until the delivery has an attempt; returns its attempts."""
    query = text("SELECT attempts FROM webhook_deliveries WHERE id = :id")
    async with asyncio.timeout(60):
        while True:
            async with engine.connect() as connection:
                made: list[dict[str, object]] = (await connection.execute(query, {"id": delivery})).scalar_one()
            if made:
                return made
            await asyncio.sleep(0.1)


async def test_a_sender_whose_connections_break_goes_on(
    stack: Stack, template_url: str, redis_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with running_api(stack, template_url, redis_url, tmp_path) as (api, engine):
        async with engine.connect() as connection:
            await connection.execute(text(END_OTHERS))
        await api.wait_ready()
        # the secret does not open: the attempt ends before anything is sent
        (attempt,) = await attempts(engine, await add_message(engine, receiver.url("status/200")))
        assert attempt["error"] == "secret"
        assert api.process.poll() is None


async def test_an_unexpected_error_ends_the_process_and_is_in_its_log(
    stack: Stack, template_url: str, redis_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with running_api(stack, template_url, redis_url, tmp_path) as (api, engine):
        async with engine.begin() as connection:
            for statement in REFUSING.strip().split(";\n"):
                await connection.execute(text(statement))
        await add_message(engine, receiver.url("status/200"))
        assert await api.exit_code() != 0
    log = api.log.read_text()
    assert "webhook_sender_failed" in log
    assert "not this way" in log
