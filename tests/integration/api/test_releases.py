"""Releases of checkpoints that did not pass their policy, by a second person."""

from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select

from core.records.tables import AuditRow
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.worker_actions import claim_job, finish_job

REASON = {"reason": "Two records: no test can tell more. Ada Lovelace read it by hand."}


@dataclass
class UnreleasedCheckpoint:
    """An unreleased checkpoint, its job and its path."""

    organisation: str
    job: str
    checkpoint: str

    @property
    def path(self) -> str:
        return f"/v1/checkpoints/{self.checkpoint}"


@pytest_asyncio.fixture
async def unreleased(service: Service, client: httpx.AsyncClient) -> UnreleasedCheckpoint:
    """An unreleased checkpoint of a job that the client, an admin, submitted."""
    await register_ready_model(service, client)
    id = (await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})).json()["id"]
    checkpoint = await finish_job(service, id, await claim_job(service, id), {"config.json": b"{}"}, verdict="failed")
    return UnreleasedCheckpoint((await client.get("/v1/keys/self")).json()["organisation"], id, checkpoint)


async def key_headers(client: httpx.AsyncClient, *scopes: str) -> dict[str, str]:
    """Creates a key in the client's organisation and returns the headers with it."""
    created = await client.post("/v1/keys", json={"name": "second", "scopes": scopes})
    return {"Authorization": f"Bearer {created.json()['key']}"}


def problem_name(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


async def test_a_checkpoint_released_by_a_second_person_is_downloaded_by_all(
    service: Service, client: httpx.AsyncClient, unreleased: UnreleasedCheckpoint
) -> None:
    reader, second = await key_headers(client, "jobs:read"), await key_headers(client, "release:write")
    refused = await client.get(f"{unreleased.path}/files/config.json", headers=reader)
    assert problem_name(refused) == (403, "not-released")
    assert f"POST {unreleased.path}/release" in refused.json()["detail"]
    answer = await client.post(f"{unreleased.path}/release", json=REASON, headers=second)
    assert answer.status_code == 200, answer.text
    checkpoint = answer.json()
    assert (checkpoint["released"], checkpoint["verdict"]) == (True, "failed")
    assert checkpoint["released_by"] == (await client.get("/v1/keys/self", headers=second)).json()["id"]
    assert checkpoint["released_at"] is not None
    assert checkpoint == (await client.get(unreleased.path)).json()
    assert (await client.get(f"{unreleased.path}/files/config.json", headers=reader)).status_code == 200
    assert (await client.get(f"/v1/jobs/{unreleased.job}/archive", headers=reader)).status_code == 200
    assert (await client.get("/v1/models/demo")).json()["head"] == unreleased.checkpoint
    again = await client.post(f"{unreleased.path}/release", json=REASON, headers=second)
    assert problem_name(again) == (409, "already-released")


async def test_the_reason_of_a_release_is_in_the_audit_log_only(
    service: Service, client: httpx.AsyncClient, unreleased: UnreleasedCheckpoint
) -> None:
    headers = await key_headers(client, "release:write")
    assert (await client.post(f"{unreleased.path}/release", json=REASON, headers=headers)).status_code == 200
    async with service.sessions() as session:
        query = select(AuditRow).where(AuditRow.object == unreleased.checkpoint).order_by(AuditRow.seq)
        created, released = list(await session.scalars(query))
    assert (created.action, released.action) == ("checkpoint.made", "checkpoint.released")
    assert released.details["reason"] == REASON["reason"]
    events = await client.get(f"/v1/jobs/{unreleased.job}/events")
    assert events.json()["data"][0]["type"] == "released"
    for path in (f"/v1/jobs/{unreleased.job}", f"/v1/jobs/{unreleased.job}/metrics", unreleased.path):
        assert "Lovelace" not in (await client.get(path)).text
    assert "Lovelace" not in events.text


async def test_the_submitters_own_key_cannot_release_a_checkpoint(
    client: httpx.AsyncClient, unreleased: UnreleasedCheckpoint
) -> None:
    assert problem_name(await client.post(f"{unreleased.path}/release", json=REASON)) == (403, "own-job")
    assert (await client.get(unreleased.path)).json()["released"] is False
    assert (await client.get("/v1/models/demo")).json()["head"] is None


@pytest.mark.parametrize(
    "body", [{}, {"reason": ""}, {"reason": " \n"}, {"reason": "x" * 2001}, {**REASON, "force": 1}]
)
async def test_a_release_needs_a_reason(
    client: httpx.AsyncClient, unreleased: UnreleasedCheckpoint, body: dict[str, object]
) -> None:
    headers = await key_headers(client, "release:write")
    answer = await client.post(f"{unreleased.path}/release", json=body, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"/{list(body or ['reason'])[-1]}")


async def test_a_release_needs_its_scope_and_its_organisation(
    service: Service, client: httpx.AsyncClient, unreleased: UnreleasedCheckpoint
) -> None:
    headers = await key_headers(client, "jobs:read", "jobs:write", "models:write", "evidence:read")
    assert problem_name(await client.post(f"{unreleased.path}/release", json=REASON, headers=headers)) == (
        403,
        "forbidden",
    )
    async with service.client("release:write") as stranger:
        assert (await stranger.post(f"{unreleased.path}/release", json=REASON)).status_code == 404
    second = await key_headers(client, "release:write")
    assert (
        await client.post(f"/v1/checkpoints/ckpt-{uuid4().hex}/release", json=REASON, headers=second)
    ).status_code == 404


async def test_a_model_that_always_releases_has_nothing_to_release(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client, release="always")
    id = (await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})).json()["id"]
    warned = [warning["code"] for warning in (await client.get(f"/v1/jobs/{id}")).json()["warnings"]]
    assert "released_whatever_the_verdict" in warned
    checkpoint = await finish_job(
        service, id, await claim_job(service, id), {"config.json": b"{}"}, verdict="not_judged"
    )
    path = f"/v1/checkpoints/{checkpoint}"
    assert (await client.get(path)).json()["released"] is True
    assert problem_name(await client.post(f"{path}/release", json=REASON)) == (409, "already-released")
    reader = await key_headers(client, "jobs:read")
    assert (await client.get(f"{path}/archive", headers=reader)).status_code == 200


async def test_an_event_stream_holds_a_later_release_and_ends(
    client: httpx.AsyncClient, unreleased: UnreleasedCheckpoint
) -> None:
    path, stream = f"/v1/jobs/{unreleased.job}/events", {"Accept": "text/event-stream"}
    stream_answer = await client.get(path, headers=stream)
    types = [line.removeprefix("event: ") for line in stream_answer.text.splitlines() if line.startswith("event: ")]
    assert types[-2:] == ["judged", "succeeded"]
    headers = await key_headers(client, "release:write")
    await client.post(f"{unreleased.path}/release", json=REASON, headers=headers)
    last = [line.removeprefix("id: ") for line in stream_answer.text.splitlines() if line.startswith("id: ")][-1]
    later = await client.get(path, headers=stream | {"Last-Event-ID": last})
    assert [line for line in later.text.splitlines() if line.startswith("event: ")] == ["event: released"]
    assert (await client.get(path, headers=stream | {"Last-Event-ID": str(int(last) + 1)})).status_code == 204
