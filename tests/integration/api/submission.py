"""Submits jobs by HTTP."""

from typing import Any

import httpx
from sqlalchemy import update

from core.records.tables import JobRow
from tests.integration.api.service import Service

MINIMAL_REQUEST = {"model": "demo", "forget": {"records": ["Zorvek Halmi lives in Pell"]}}


async def submit_job(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, **more})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def give_webhook(service: Service, job: str, url: str) -> None:
    """Gives the job a webhook whose secret cannot be opened, so that nothing is ever sent."""
    change = update(JobRow).where(JobRow.id == job).values(webhook_url=url, webhook_secret=b"no secret")
    async with service.sessions.begin() as session:
        await session.execute(change)
