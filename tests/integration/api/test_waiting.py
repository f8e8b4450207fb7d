"""Polling of a job: 304 where it has not changed, and `wait`, which answers when it changes."""

import asyncio
import time

import httpx

from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.submission import submit_job
from tests.integration.api.worker_actions import claim_job, record_step


async def test_an_unchanged_job_is_304(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    path = f"/v1/jobs/{(await submit_job(client))['id']}"
    first = await client.get(path)
    known = {"If-None-Match": first.headers["etag"]}
    unchanged = await client.get(path, headers=known)
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", first.headers["etag"])
    await client.post(f"{path}/cancel")
    changed = await client.get(path, headers=known)
    assert (changed.status_code, changed.json()["status"]) == (200, "cancelled")


async def test_a_waiting_request_is_answered_when_the_job_changes(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    job = (await submit_job(client))["id"]
    path = f"/v1/jobs/{job}"
    fence = await claim_job(service, job)
    first = await client.get(path)
    waiting = asyncio.create_task(
        client.get(path, params={"wait": 20}, headers={"If-None-Match": first.headers["etag"]})
    )
    bare = asyncio.create_task(client.get(path, params={"wait": 20}))
    done, _ = await asyncio.wait([waiting, bare], timeout=0.3)
    assert done == set()
    began = time.monotonic()
    await record_step(service, job, fence, 3)
    for answer in (await waiting, await bare):
        assert answer.json()["progress"] == {"step": 3, "steps": 10, "fraction": 0.3, "eta": 2.0}
    assert time.monotonic() - began < 15
    elapsed = await client.get(path, params={"wait": 0.2}, headers={"If-None-Match": (await waiting).headers["etag"]})
    assert elapsed.status_code == 304


async def test_a_waiting_request_for_a_finished_job_is_answered_at_once(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    path = f"/v1/jobs/{(await submit_job(client))['id']}"
    etag = (await client.post(f"{path}/cancel"), await client.get(path))[1].headers["etag"]
    began = time.monotonic()
    assert (await client.get(path, params={"wait": 30})).status_code == 200
    assert (await client.get(path, params={"wait": 30}, headers={"If-None-Match": etag})).status_code == 304
    assert (await client.get("/v1/jobs/job-none", params={"wait": 30})).status_code == 404
    assert (await client.get(path, params={"wait": 61})).status_code == 422
    assert time.monotonic() - began < 15
