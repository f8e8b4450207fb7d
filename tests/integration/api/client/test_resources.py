"""What the clients' methods ask for, and the types of what they return."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from api.client import Conflict, Forbidden, InvalidRequest, NotFound, Unauthenticated, WaitTimeout
from core.schema.api_keys import Key, KeyRequest, NewKey
from core.schema.checkpoints import Checkpoint
from core.schema.job_sources import ForgetSource
from core.schema.jobs import Job, JobRequest
from core.schema.models import Model
from core.schema.stored_policies import StoredPolicy
from core.schema.webhooks import WebhookDelivery
from tests.integration.api.client.either_client import EitherClient, Kind, either_client
from tests.integration.api.model_directory import write_model
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.submission import give_webhook
from tests.integration.api.worker_actions import claim_job, finish_job, record_phase

REQUEST = {"model": "demo", "forget": {"records": ["Zorvek Halmi lives in Pell"]}}


async def test_a_model_is_registered_waited_for_listed_and_deleted(service: Service, either: EitherClient) -> None:
    models = either.client.models
    directory = write_model(service.roots / uuid4().hex)
    registered = await either.call(models.register, {"id": "demo", "source": str(directory)})
    assert (type(registered), registered.id) == (Model, "demo")
    ready = await either.call(models.wait, "demo", seconds=60)
    assert ready.status == "ready", ready.error
    assert await either.call(models.get, "demo") == ready
    page = await either.call(models.page, limit=1)
    assert (page.data, page.has_more) == ([ready], False)
    assert await either.items(models.list) == [ready]
    assert await either.items(models.lineage, "demo") == []
    assert await either.call(models.delete, "demo") is None
    with pytest.raises(NotFound):
        await either.call(models.get, "demo")


async def test_a_file_is_uploaded_read_back_and_deleted(either: EitherClient, tmp_path: Path) -> None:
    files, path = either.client.files, tmp_path / "people.txt"
    path.write_text("Zorvek was here.\n\nZorvek was there.")
    uploaded = await either.call(files.upload, path, "forget")
    assert (uploaded.filename, uploaded.records, uploaded.purpose) == ("people.txt", 2, "forget")
    assert await either.call(files.get, uploaded.id) == uploaded
    assert await either.call(files.download, uploaded.id, tmp_path / "again.txt") == uploaded
    assert (tmp_path / "again.txt").read_bytes() == path.read_bytes()
    assert await either.items(files.list, purpose="forget") == [uploaded]
    assert (await either.call(files.page, purpose="retain")).data == []
    await either.call(files.delete, uploaded.id)
    assert await either.items(files.list) == []


async def test_a_refusal_names_the_problem_and_the_fields(either: EitherClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await either.call(either.client.jobs.create, {"model": "demo", "forget": {}, "methud": "npo"})
    assert (refused.value.status, refused.value.problem) == (422, "invalid-request")
    assert {fault.pointer for fault in refused.value.errors} == {"/forget", "/methud"}
    assert refused.value.request_id
    with pytest.raises(NotFound) as missing:
        await either.call(either.client.jobs.get, "job-0")
    assert str(missing.value) == "404: Not Found; there is no such job"
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "a record"}\n{"txt": "b"}\n')
    with pytest.raises(InvalidRequest, match="line 2"):
        await either.call(either.client.files.upload, bad, "forget")


async def test_a_wrong_key_and_a_missing_scope_have_errors_of_their_own(
    service: Service, kind: Kind, client: httpx.AsyncClient
) -> None:
    async with either_client(kind, service.url, "ulk_wrong") as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.call(stranger.client.models.page)
    weak = (await client.post("/v1/keys", json={"name": "weak", "scopes": ["jobs:read"]})).json()["key"]
    async with either_client(kind, service.url, weak) as reader:
        with pytest.raises(Forbidden):
            await reader.call(reader.client.jobs.create, REQUEST)


async def test_a_job_is_submitted_and_waited_for_until_it_is_over(
    service: Service, client: httpx.AsyncClient, either: EitherClient
) -> None:
    await register_ready_model(service, client)
    jobs = either.client.jobs
    request = JobRequest(model="demo", forget=ForgetSource(records=["a b"]), external_reference="DSR-7")
    job = await either.call(jobs.create, request)
    assert (type(job), job.status, job.start, job.external_reference) == (Job, "queued", "head", "DSR-7")
    with pytest.raises(WaitTimeout, match="not over"):
        await either.call(jobs.wait, job.id, seconds=0.05)
    waiting = asyncio.create_task(either.call(jobs.wait, job.id, seconds=60))
    fence = await claim_job(service, job.id)
    await record_phase(service, job.id, fence, "unlearning")
    checkpoint = await finish_job(service, job.id, fence, {"config.json": b"{}"})
    ended = await asyncio.wait_for(waiting, 60)
    assert (ended.status, ended.checkpoint) == ("succeeded", checkpoint)
    assert [event.type for event in reversed(await either.items(jobs.events, job.id))][:3] == [
        "created",
        "started",
        "phase",
    ]
    assert (await either.call(jobs.metrics, job.id)).job == job.id
    described = await either.call(either.client.checkpoints.get, checkpoint)
    assert (type(described), (await either.call(jobs.checkpoints, job.id)).data) == (Checkpoint, [described])
    assert await either.items(jobs.list, external_reference="DSR-7", status="succeeded") == [ended]
    assert (await either.call(jobs.page, overdue=True)).data == []
    with pytest.raises(Conflict):
        await either.call(jobs.cancel, job.id)


async def test_a_list_goes_on_over_all_pages(
    service: Service, client: httpx.AsyncClient, either: EitherClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.client.pages.LARGEST_PAGE", 2)
    await register_ready_model(service, client)
    jobs = [(await either.call(either.client.jobs.create, REQUEST)).id for _ in range(5)]
    assert [job.id for job in await either.items(either.client.jobs.list)] == jobs[::-1]


async def test_a_job_is_paused_resumed_extended_and_cancelled(
    service: Service, client: httpx.AsyncClient, either: EitherClient
) -> None:
    await register_ready_model(service, client)
    jobs = either.client.jobs
    job = await either.call(jobs.create, REQUEST)
    assert (await either.call(jobs.pause, job.id)).status == "paused"
    assert (await either.call(jobs.resume, job.id)).status == "queued"
    extended = await either.call(jobs.extend, job.id, "forty requests came in at once")
    assert extended.extensions[0].previous_due == job.due
    assert (await either.call(jobs.cancel, job.id)).status == "cancelled"
    with pytest.raises(Conflict):
        await either.call(jobs.retry, job.id)
    report = await either.call(either.client.reports.get, job.id)
    assert (report.job, report.status) == (job.id, "cancelled")


async def test_a_report_is_the_services_own_bytes(
    service: Service, client: httpx.AsyncClient, either: EitherClient, tmp_path: Path
) -> None:
    await register_ready_model(service, client)
    job = (await either.call(either.client.jobs.create, REQUEST)).id
    with pytest.raises(Conflict) as early:
        await either.call(either.client.reports.get, job)
    assert early.value.problem == "not-ended"
    await finish_job(service, job, await claim_job(service, job), {"a": b"b"})
    for form in ("json", "html", "pdf"):
        file = await either.call(either.client.reports.download, job, tmp_path / f"report.{form}", form)
        assert file.read_bytes() == (await client.get(f"/v1/jobs/{job}/report?format={form}")).content
    assert await either.call(either.client.reports.content, job, "pdf") == (tmp_path / "report.pdf").read_bytes()
    bill = await either.call(either.client.statements.download_bill_of_materials, job, tmp_path / "bill.json")
    assert json.loads(bill.read_text())["bomFormat"] == "CycloneDX"
    with pytest.raises(Conflict) as unsigned:
        await either.call(either.client.statements.get, job)
    assert unsigned.value.problem == "not-signed-yet"


async def test_a_policy_and_a_measurement_have_their_own_resources(
    service: Service, client: httpx.AsyncClient, either: EitherClient
) -> None:
    policies, measurements = either.client.policies, either.client.measurements
    bound = {"name": "text", "set": "forget", "figure": "extraction_strength", "high": 0.25}
    stored = await either.call(policies.create, {"name": "house", "bounds": [bound]})
    assert (type(stored), stored.built_in) == (StoredPolicy, False)
    assert [policy.name for policy in await either.items(policies.list)] == ["default", "house"]
    assert await either.call(policies.get, "house") == stored
    await either.call(policies.delete, "house")
    await register_ready_model(service, client)
    measurement = await either.call(measurements.create, {"model": "demo", "forget": {"records": ["a b"]}})
    assert (measurement.id[:5], measurement.start) == ("meas-", "base")
    assert [listed.id for listed in await either.items(measurements.list)] == [measurement.id]
    assert (await either.call(measurements.get, measurement.id)).status == "queued"
    assert (await either.call(measurements.cancel, measurement.id)).status == "cancelled"
    assert (await either.call(measurements.wait, measurement.id)).status == "cancelled"


async def test_a_key_is_made_used_listed_and_revoked(
    service: Service, kind: Kind, client: httpx.AsyncClient, either: EitherClient
) -> None:
    keys = either.client.keys
    own = await either.call(keys.own)
    assert (type(own), own.scopes) == (Key, ["admin"])
    made = await either.call(keys.create, KeyRequest(name="reader", scopes=["jobs:read"]))
    assert (type(made), made.key.startswith(made.prefix), made.organisation) == (NewKey, True, own.organisation)
    async with either_client(kind, service.url, made.key) as reader:
        assert (await reader.call(reader.client.keys.own)).id == made.id
        with pytest.raises(Forbidden):
            await reader.items(reader.client.keys.list)
    assert [key.id for key in await either.items(keys.list)] == [made.id, own.id]
    assert (await either.call(keys.page, limit=1)).has_more
    revoked = await either.call(keys.revoke, made.id)
    assert revoked.revoked_at is not None
    assert await either.call(keys.get, made.id) == revoked
    with pytest.raises(InvalidRequest):
        await either.call(keys.create, {"name": "x", "scopes": ["everything"]})


async def test_a_message_to_a_webhook_is_listed_shown_and_sent_again(
    service: Service, client: httpx.AsyncClient, either: EitherClient
) -> None:
    await register_ready_model(service, client)
    url = "https://receiver.invalid/hook"
    job = await either.call(either.client.jobs.create, REQUEST)
    await give_webhook(service, job.id, url)
    await either.call(either.client.jobs.cancel, job.id)
    webhooks = either.client.webhooks
    (delivery,) = await either.items(webhooks.list, job=job.id)
    assert (type(delivery), delivery.type, delivery.url) == (WebhookDelivery, "job.cancelled", url)
    assert (await either.call(webhooks.page, status="delivered")).data == []
    assert (await either.call(webhooks.get, delivery.id)).job == job.id
    again = await either.call(webhooks.redeliver, delivery.id)
    assert (again.id, again.status) == (delivery.id, "pending")
    with pytest.raises(NotFound):
        await either.call(webhooks.redeliver, "delivery-0")


async def test_methods_are_listed_with_their_parameters(either: EitherClient) -> None:
    methods = either.client.methods
    listed = await either.items(methods.list)
    assert {"calibrated", "npo"} <= {method.name for method in listed}
    (npo,) = [method for method in listed if method.name == "npo"]
    assert await either.call(methods.get, "npo") == npo
    assert "beta" in npo.parameters["properties"]
    with pytest.raises(NotFound):
        await either.call(methods.get, "lobotomy")
