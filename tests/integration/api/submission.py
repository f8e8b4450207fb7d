"""Submits jobs by HTTP."""

from typing import Any

import httpx

MINIMAL_REQUEST = {"model": "demo", "forget": {"records": ["Zorvek Halmi lives in Pell"]}}


async def submit_job(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, **more})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job
