"""Calls whose answers are lost, put off or refused."""

from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from api.client import NoAnswer, NotFound, RateLimited
from tests.integration.api.breaking_line import breaking_line
from tests.integration.api.client.either_client import EitherClient, Kind, either_client
from tests.integration.api.service import Service, make_settings, register_ready_model, run_service

REQUEST = {"model": "demo", "forget": {"records": ["Zorvek Halmi lives in Pell"]}}


async def test_a_submission_whose_answer_is_lost_makes_one_job(
    service: Service, client: httpx.AsyncClient, kind: Kind, key: str
) -> None:
    await register_ready_model(service, client)
    async with (
        breaking_line(service.url, "/v1/jobs", cut=0, method="POST") as line,
        either_client(kind, line.url, key) as either,
    ):
        job = await either.call(either.client.jobs.create, REQUEST)
    assert len(line.ranges) == 2
    assert [listed["id"] for listed in (await client.get("/v1/jobs")).json()["data"]] == [job.id]


async def test_an_upload_whose_answer_is_lost_is_sent_again_from_its_beginning(
    service: Service, client: httpx.AsyncClient, kind: Kind, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("Zorvek was here.")
    async with (
        breaking_line(service.url, "/v1/files", cut=0, method="POST") as line,
        either_client(kind, line.url, key) as either,
    ):
        uploaded = await either.call(either.client.files.upload, file, "forget")
    listed = (await client.get("/v1/files")).json()["data"]
    assert [(entry["id"], entry["bytes"]) for entry in listed] == [(uploaded.id, len(file.read_bytes()))]


async def test_the_same_key_of_two_submissions_makes_one_job(
    service: Service, client: httpx.AsyncClient, either: EitherClient
) -> None:
    await register_ready_model(service, client)
    jobs = [await either.call(either.client.jobs.create, REQUEST, idempotency_key="DSR-7") for _ in range(2)]
    assert jobs[0].id == jobs[1].id


async def test_an_action_whose_answer_is_lost_is_not_repeated(
    service: Service, client: httpx.AsyncClient, kind: Kind, key: str
) -> None:
    await register_ready_model(service, client)
    job = (await client.post("/v1/jobs", json=REQUEST)).json()["id"]
    async with (
        breaking_line(service.url, "/cancel", cut=0, method="POST") as line,
        either_client(kind, line.url, key) as either,
    ):
        with pytest.raises(NoAnswer):
            await either.call(either.client.jobs.cancel, job)
        assert (await either.call(either.client.jobs.get, job)).status == "cancelled"
    assert len(line.ranges) == 1


async def test_a_deletion_whose_answer_is_lost_succeeds(
    service: Service, client: httpx.AsyncClient, kind: Kind, key: str
) -> None:
    await register_ready_model(service, client)
    async with (
        breaking_line(service.url, "/v1/models/demo", cut=0, method="DELETE") as line,
        either_client(kind, line.url, key) as either,
    ):
        await either.call(either.client.models.delete, "demo")
        assert len(line.ranges) == 2
        with pytest.raises(NotFound):
            await either.call(either.client.models.delete, "demo")


async def test_a_longer_pause_than_the_client_allows_is_raised_with_its_length(
    kind: Kind, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, database_url, redis_url, rate_limit_per_minute=1, sweep_seconds=600)
    async with run_service(settings) as service:
        key = await service.key(organisation=uuid4().hex)
        async with either_client(kind, service.url, key) as impatient:
            await impatient.call(impatient.client.models.page)
            with pytest.raises(RateLimited) as refused:
                await impatient.call(impatient.client.models.page)
    assert 1 < (refused.value.retry_after or 0) <= 60
