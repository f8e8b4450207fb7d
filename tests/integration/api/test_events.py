import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import structlog
from sqlalchemy import text

from api.client import UnlearningClient
from api.main import LISTENING
from core.embedded import Stack
from core.records import leases
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.events import CostReported
from tests.integration.api.service import Service, make_settings, register_ready_model, run_service, wait_until
from tests.integration.api.worker_actions import (
    claim_job,
    finish_job,
    record_cost,
    record_measurements,
    record_phase,
    record_step,
)
from tests.servers import execute

STREAM = {"Accept": "text/event-stream"}


async def submit_job(service: Service, client: httpx.AsyncClient) -> str:
    await register_ready_model(service, client)
    answer = await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})
    return str(answer.json()["id"])


async def stream_messages(
    client: httpx.AsyncClient, job: str, last: str | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Yields the stream's messages as dicts, with `data` decoded from JSON."""
    headers = STREAM | ({"Last-Event-ID": last} if last else {})
    async with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, Any] = {}
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = json.loads(value) if name == "data" else value
            elif fields:
                yield fields
                fields = {}


async def test_the_list_of_events_is_paged_newest_first(service: Service, client: httpx.AsyncClient) -> None:
    job = await submit_job(service, client)
    fence = await claim_job(service, job)
    await record_phase(service, job, fence, "unlearning")
    path = f"/v1/jobs/{job}/events"
    first = (await client.get(path, params={"limit": 2})).json()
    assert [(event["seq"], event["type"], event["data"]) for event in first["data"]] == [
        (3, "phase", {"phase": "unlearning"}),
        (2, "started", {"attempt": 1}),
    ]
    assert (first["first_id"], first["last_id"], first["has_more"]) == ("3", "2", True)
    rest = (await client.get(path, params={"limit": 2, "after": first["last_id"]})).json()
    assert ([event["type"] for event in rest["data"]], rest["has_more"]) == (["created"], False)


async def test_an_event_stream_holds_past_and_new_events_and_ends_with_the_job(
    service: Service, client: httpx.AsyncClient
) -> None:
    job = await submit_job(service, client)
    seen: list[dict[str, Any]] = []
    reached = asyncio.Event()

    async def follow() -> None:
        async for message in stream_messages(client, job):
            seen.append(message)
            if message["event"] in ("created", "phase", "progress"):
                reached.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(follow())
        await reached.wait()
        fence = await claim_job(service, job)
        reached.clear()
        await record_phase(service, job, fence, "unlearning")
        await reached.wait()
        reached.clear()
        await record_step(service, job, fence, 4)
        await asyncio.wait_for(reached.wait(), 60)
        reached.clear()
        await record_phase(service, job, fence, "saving")
        await asyncio.wait_for(reached.wait(), 60)
        await finish_job(service, job, fence, {"a": b"b"})
    assert [event["event"] for event in seen] == [
        *("created", "started", "phase", "progress", "phase"),
        *("judged", "released", "succeeded"),
    ]
    assert [event.get("id") for event in seen] == ["1", "2", "3", None, "4", "5", "6", "7"]
    assert seen[2]["data"]["phase"] == "unlearning"
    assert seen[3]["data"] == {"step": 4, "steps": 10, "fraction": 0.4, "eta": 2.0}


async def test_an_event_stream_is_resumed_and_ends_with_the_job(service: Service, client: httpx.AsyncClient) -> None:
    job = await submit_job(service, client)
    fence = await claim_job(service, job)
    await record_phase(service, job, fence, "unlearning")
    await finish_job(service, job, fence, {"a": b"b"})
    resumed = [message async for message in stream_messages(client, job, last="2")]
    assert [event["id"] for event in resumed] == ["3", "4", "5", "6"]
    over = await client.get(f"/v1/jobs/{job}/events", headers={**STREAM, "Last-Event-ID": "6"})
    assert over.status_code == 204
    everything = [message async for message in stream_messages(client, job, last="nonsense")]
    assert len(everything) == 6


async def test_an_event_stream_of_a_retried_job_goes_on_after_the_failure(
    service: Service, client: httpx.AsyncClient
) -> None:
    job = await submit_job(service, client)
    fence = await claim_job(service, job)
    async with service.sessions.begin() as session:
        row = await leases.lock_job(session, job, fence)
        error: dict[str, object] = {"code": "x", "message": "x", "blame": "service", "retryable": True}
        await leases.fail_or_retry(session, row, error, max_failures=1)
    await client.post(f"/v1/jobs/{job}/retry")
    key = client.headers["authorization"].removeprefix("Bearer ")

    def follow() -> list[str]:
        with UnlearningClient(service.url, key) as following:
            return [message.type for message in following.jobs.follow(job)]

    following = asyncio.create_task(asyncio.to_thread(follow))
    await finish_job(service, job, await claim_job(service, job), {"a": b"b"})
    seen = await asyncio.wait_for(following, 60)
    assert seen == ["created", "started", "failed", "requeued", "started", "judged", "released", "succeeded"]


async def test_an_event_stream_without_its_reader_is_forgotten(service: Service, client: httpx.AsyncClient) -> None:
    job = await submit_job(service, client)
    async with client.stream("GET", f"/v1/jobs/{job}/events", headers=STREAM) as answer:
        await anext(answer.aiter_bytes())
        assert job in service.context.job_notifications._watches
    await wait_until(lambda: job not in service.context.job_notifications._watches)


async def test_an_event_stream_ends_with_a_lost_database_and_is_resumed(
    stack: Stack, redis_url: str, clean_database_url: str, tmp_path: Path
) -> None:
    name = clean_database_url.rpartition("/")[2].partition("?")[0]
    async with (
        run_service(make_settings(tmp_path, clean_database_url, redis_url)) as service,
        service.client() as client,
    ):
        job = await submit_job(service, client)
        with structlog.testing.capture_logs() as lines:
            stream = stream_messages(client, job)
            first = await anext(stream)
            await execute(
                stack.superuser_url,
                f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
            )
            try:
                assert [message async for message in stream] == []
            finally:
                await execute(stack.superuser_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert [line["event"] for line in lines if line.get("log_level") == "error"] == []
        assert "stream_ended" in [line["event"] for line in lines]
        resumed = stream_messages(client, job, first["id"])
        await claim_job(service, job)
        assert (await anext(resumed))["event"] == "started"


async def test_a_lost_listening_connection_is_opened_again(service: Service, client: httpx.AsyncClient) -> None:
    job = await submit_job(service, client)
    fence = await claim_job(service, job)
    async with service.sessions.begin() as session:
        condition = "datname = current_database() AND application_name = :name"
        query = text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {condition}")
        assert (await session.scalars(query, {"name": LISTENING})).all() == [True]
    async with asyncio.timeout(60):
        await wait_until(lambda: not service.context.job_notifications.connected.is_set())
        waiting = asyncio.create_task(client.get(f"/v1/jobs/{job}", params={"wait": 9}))
        await service.context.job_notifications.connected.wait()
        await record_step(service, job, fence, 5)
        assert (await waiting).json()["progress"]["step"] == 5


async def test_job_metrics_hold_the_curves_and_the_measurements(service: Service, client: httpx.AsyncClient) -> None:
    job = await submit_job(service, client)
    path = f"/v1/jobs/{job}/metrics"
    assert (await client.get(path)).json() == {
        "object": "job.metrics",
        "job": job,
        "curves": {},
        "before": None,
        "after": None,
        "retrained": None,
        "reference": None,
        "policy": DEFAULT_POLICY.model_dump(mode="json"),
        "judgement": None,
        "cost": None,
    }
    fence = await claim_job(service, job)
    for at in (2, 1):
        await record_step(service, job, fence, at)
    before = await record_measurements(service, job, fence, 1.5)
    metrics = (await client.get(path)).json()
    assert metrics["curves"] == {"learning_rate": [[1, 0.1], [2, 0.1]], "loss": [[1, 1.0], [2, 0.5]]}
    assert metrics["before"] == before.model_dump(mode="json")
    assert metrics["after"] is None


async def test_job_metrics_of_a_finished_job_hold_its_cost(service: Service, client: httpx.AsyncClient) -> None:
    job = await submit_job(service, client)
    fence = await claim_job(service, job)
    took: dict[str, Any] = {"seconds": {"unlearning": 2.0}, "tokens": 90, "peak_host_bytes": 7}
    await record_cost(service, job, fence, CostReported(**took))  # of an attempt that fails in the end
    took |= {"passed": {"unlearning": 100}, "flops": {"unlearning": 3e9}, "tokens_per_second": {"unlearning": 50.0}}
    took |= {"retraining_flops": 6e12, "retraining_share": 0.0005}
    await record_cost(service, job, fence, CostReported(**took))
    await finish_job(service, job, fence, {"config.json": b"{}"})
    cost = (await client.get(f"/v1/jobs/{job}/metrics")).json()["cost"]
    assert cost == took | {"peak_device_bytes": None, "changed_share": None}
    events = (await client.get(f"/v1/jobs/{job}/events")).json()["data"]
    assert cost == next(event["data"] for event in events if event["type"] == "cost")
