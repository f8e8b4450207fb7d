"""Idempotency keys of requests that failed."""

import asyncio
import hashlib

import httpx
import pytest
from sqlalchemy import PoolProxiedConnection, select, text

from core.records.tables import ModelRow
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.submission import MINIMAL_REQUEST

HEADERS = {"Idempotency-Key": "a-request"}


async def test_a_key_is_free_at_once_after_a_503(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    organisation = (await client.get("/v1/keys/self")).json()["organisation"]
    async with service.sessions.begin() as session:
        await session.scalar(select(ModelRow).where(ModelRow.organisation == organisation).with_for_update())
        sent = asyncio.create_task(client.post("/v1/jobs", json=MINIMAL_REQUEST, headers=HEADERS))
        waits = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        async with asyncio.timeout(60):
            while not sent.done():
                await session.execute(text(f"{waits} AND datname = current_database()"))
                await asyncio.sleep(0.05)
    assert (await sent).status_code == 503
    assert (await client.post("/v1/jobs", json=MINIMAL_REQUEST, headers=HEADERS)).status_code == 202


async def test_a_busy_idempotency_key_answers_with_retry_after(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    organisation = (await client.get("/v1/keys/self")).json()["organisation"]
    async with service.sessions.begin() as session:
        await session.scalar(select(ModelRow).where(ModelRow.organisation == organisation).with_for_update())
        first = asyncio.create_task(client.post("/v1/jobs", json=MINIMAL_REQUEST, headers=HEADERS))
        await asyncio.sleep(0.5)
        busy = await client.post("/v1/jobs", json=MINIMAL_REQUEST, headers=HEADERS)
    assert busy.status_code == 409
    assert 30 <= int(busy.headers["retry-after"]) <= 60
    assert (await first).status_code == 202


@pytest.mark.parametrize(("answered", "repeated"), [(False, "false"), (True, "true")])
async def test_a_request_that_lost_a_commits_answer_may_be_sent_again(
    service: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, answered: bool, repeated: str
) -> None:
    """The first commit takes the key, the second makes what was asked for and stores the answer."""
    own = (await client.get("/v1/keys/self")).json()["id"]
    key = hashlib.sha256(f"{own} {HEADERS['Idempotency-Key']}".encode()).hexdigest()
    dialect = service.context.engine.dialect
    commit, lost = dialect.do_commit, False

    def lose_an_answer(connection: PoolProxiedConnection) -> None:
        nonlocal lost
        cursor = connection.cursor()  # the row is seen by its own transaction alone, and other requests have other keys
        cursor.execute(
            "SELECT count(*) FROM idempotency_keys WHERE key = $1 AND (status IS NOT NULL) = $2", (key, answered)
        )
        row = cursor.fetchone()
        cursor.close()
        commit(connection)
        if row is not None and row[0] and not lost:
            lost = True
            raise ConnectionResetError

    body = {"name": f"made by {key}"[:60], "scopes": ["jobs:read"]}
    monkeypatch.setattr(dialect, "do_commit", lose_an_answer)
    assert (await client.post("/v1/keys", json=body, headers=HEADERS)).status_code == 503
    monkeypatch.undo()
    assert lost
    again = await client.post("/v1/keys", json=body, headers=HEADERS)
    assert (again.status_code, again.headers.get("idempotency-replayed", "false")) == (201, repeated)
    named = [key for key in (await client.get("/v1/keys")).json()["data"] if key["name"] == body["name"]]
    assert len(named) == 1
