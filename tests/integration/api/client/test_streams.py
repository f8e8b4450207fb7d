"""A job's events, over connections that break."""

import asyncio

import httpx
import pytest

from api.client import NotFound
from tests.integration.api.breaking_line import breaking_line
from tests.integration.api.client.either_client import EitherClient, Kind, either_client
from tests.integration.api.service import Service, register_ready_model, wait_until
from tests.integration.api.worker_actions import claim_job, finish_job, record_phase

PHASES = 30


async def test_a_stream_that_breaks_goes_on_without_losing_or_repeating_an_event(
    service: Service, client: httpx.AsyncClient, kind: Kind, key: str
) -> None:
    await register_ready_model(service, client)
    job = (await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})).json()["id"]
    fence = await claim_job(service, job)
    for _ in range(PHASES):
        await record_phase(service, job, fence, "unlearning")
    async with (
        breaking_line(service.url, f"/v1/jobs/{job}/events", cut=1500) as line,
        either_client(kind, line.url, key) as either,
    ):
        following = asyncio.create_task(either.items(either.client.jobs.follow, job))
        await wait_until(lambda: len(line.ranges) == 2, seconds=30)
        await finish_job(service, job, fence, {"a": b"b"})
        events = [event for event in await asyncio.wait_for(following, 60) if event.id is not None]
    assert [event.id for event in events] == [str(seq) for seq in range(1, len(events) + 1)]
    assert [events[0].type, events[-1].type] == ["created", "succeeded"]
    assert len(events) > PHASES


async def test_a_stream_may_be_left_before_its_end(
    service: Service, client: httpx.AsyncClient, either: EitherClient
) -> None:
    await register_ready_model(service, client)
    job = (await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})).json()["id"]

    def first_event() -> str:
        stream = either.client.jobs.follow(job)
        event = next(stream)
        stream.close()
        return event.type

    async def first_event_awaited() -> str:
        stream = either.client.jobs.follow(job)
        event = await anext(stream)
        await stream.aclose()
        return str(event.type)

    first = asyncio.to_thread(first_event) if either.kind == "blocking" else first_event_awaited()
    assert await asyncio.wait_for(first, 60) == "created"


async def test_the_stream_of_an_unknown_job_is_refused(either: EitherClient) -> None:
    with pytest.raises(NotFound):
        await either.items(either.client.jobs.follow, "job-0")
