"""`/v1/measurements`: queued like a job, shown with its figures, and in the way of no other job."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from core.evaluation.presets import PRESETS
from core.records import completion, progress
from core.records.tables import CheckpointRow, JobRow, Organisation
from core.schema.evaluation import Figure, Measurements
from core.schema.verdict_parts import Verdict
from tests.integration.api.service import Service, register_ready_model, upload_records
from tests.integration.api.worker_actions import claim_job, finish_job
from worker import assignment
from worker.scratch import Scratch

MINIMAL_REQUEST = {"model": "demo", "forget": {"records": ["zq-canary lives in Pell"]}}


async def submit(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/measurements", json={**MINIMAL_REQUEST, **more})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/measurements/{answer.json()['id']}"
    measurement: dict[str, Any] = answer.json()
    return measurement


async def deliver_checkpoint(
    service: Service, client: httpx.AsyncClient, verdict: Verdict = "passed"
) -> tuple[str, str]:
    """Finishes a job; returns its id and its checkpoint's."""
    answer = await client.post("/v1/jobs", json=MINIMAL_REQUEST)
    assert answer.status_code == 202, answer.text
    measurement = answer.json()
    fence = await claim_job(service, measurement["id"])
    return measurement["id"], await finish_job(
        service, measurement["id"], fence, {"config.json": b"{}"}, verdict=verdict
    )


async def test_a_measurement_is_queued_claimed_beside_a_job_on_the_model_and_shows_its_figures(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    running = (await client.post("/v1/jobs", json=MINIMAL_REQUEST)).json()
    await claim_job(service, running["id"])
    unseen = await upload_records(client, "unseen")
    measurement = await submit(client, unseen={"file": unseen}, measure=["likelihood"], metadata={"team": "privacy"})
    assert (measurement["status"], measurement["from"], measurement["measure"]) == ("queued", "base", ["likelihood"])
    assert [(data_set["name"], data_set["file"], data_set["records"]) for data_set in measurement["data"]] == [
        ("forget", None, 1),
        ("unseen", unseen, 3),
    ]
    assert measurement["reading"] == {"max_length": 64, "chat": "auto", "seed": 0}
    fence = await claim_job(service, measurement["id"])
    after = (await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "from": "base"})).json()
    await claim_job(service, after["id"])  # the measurement does not hold up a job either

    figure = Figure(value=2.0, low=1.0, high=3.0, records=1)
    results = Measurements(sets={"forget": {"perplexity": figure}}, seconds=1.0, model_digest="0" * 64)
    async with service.sessions.begin() as session:
        await progress.add_measurements(session, measurement["id"], fence, "after", results)
    assert (await client.get(f"/v1/measurements/{measurement['id']}")).json()["measurements"] is None
    async with service.sessions.begin() as session:
        await completion.finish_without_checkpoint(session, measurement["id"], fence, outcome=None)
    over = (await client.get(f"/v1/measurements/{measurement['id']}")).json()
    assert over["status"] == "succeeded"
    assert over["measurements"] == results.model_dump(mode="json")
    assert over["metadata"] == {"team": "privacy"}
    (listed,) = (await client.get("/v1/measurements")).json()["data"]
    assert listed == {**over, "measurements": None}
    assert measurement["id"] not in [job["id"] for job in (await client.get("/v1/jobs")).json()["data"]]
    assert (await client.get(f"/v1/jobs/{measurement['id']}")).json()["kind"] == "measure"
    assert (await client.get(f"/v1/measurements/{running['id']}")).status_code == 404
    assert (await client.post(f"/v1/measurements/{running['id']}/cancel")).status_code == 404


async def test_a_preset_measures_the_figures_of_its_table_and_shows_the_table(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    measurement = await submit(client, preset="tofu")
    names = [choice if isinstance(choice, str) else choice["name"] for choice in measurement["measure"]]
    assert names == [choice if isinstance(choice, str) else choice.name for choice in PRESETS["tofu"].measure]
    assert (await submit(client, preset="muse", measure=["relearned"]))["measure"][0] == "relearned"
    fence = await claim_job(service, measurement["id"])
    figure = Figure(value=0.25, low=None, high=None, records=1)
    results = Measurements(sets={"forget": {"probability": figure}}, seconds=1.0, model_digest="0" * 64)
    async with service.sessions.begin() as session:
        await progress.add_measurements(session, measurement["id"], fence, "after", results)
        await completion.finish_without_checkpoint(session, measurement["id"], fence, outcome=None)
    over = (await client.get(f"/v1/measurements/{measurement['id']}")).json()
    assert (over["preset"], over["table"]) == ("tofu", {"forget_Q_A_Prob": 0.25})


async def test_a_waiting_measurement_is_cancelled_and_frees_its_file(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    file = await upload_records(client, "general")
    measurement = await submit(client, general={"file": file})
    assert (await client.delete(f"/v1/files/{file}")).status_code == 409
    cancelled = await client.post(f"/v1/measurements/{measurement['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    assert (await client.post(f"/v1/measurements/{measurement['id']}/cancel")).status_code == 409
    assert (await client.delete(f"/v1/files/{file}")).status_code == 204


async def test_the_same_idempotency_key_queues_one_measurement(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    key = {"Idempotency-Key": "m-1"}
    first, second = [await client.post("/v1/measurements", json=MINIMAL_REQUEST, headers=key) for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert len((await client.get("/v1/measurements")).json()["data"]) == 1


async def test_a_measurement_pins_the_head_and_accepts_any_checkpoint_of_the_model(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client, release="always")
    _, head = await deliver_checkpoint(service, client)
    assert (await submit(client))["from"] == head
    assert (await submit(client, **{"from": "base"}))["from"] == "base"
    assert (await submit(client, **{"from": head}))["from"] == head
    await register_ready_model(service, client, "other", defaults={})
    foreign = await client.post("/v1/measurements", json={**MINIMAL_REQUEST, "model": "other", "from": head})
    assert (foreign.status_code, foreign.json()["errors"][0]["pointer"]) == (422, "/from")


async def test_an_unreleased_checkpoint_is_measured_only_with_the_scope_release_write(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client, release="on_pass")
    job, checkpoint = await deliver_checkpoint(service, client, "failed")
    async with service.sessions.begin() as session:
        row = await session.get(CheckpointRow, checkpoint)
        assert row is not None
        assert not row.released
        made_by = await session.get(JobRow, job)
        assert made_by is not None
    assert (await submit(client, **{"from": checkpoint}))["from"] == checkpoint  # an admin may
    key = await key_headers(service, made_by.organisation, "models:probe")
    refused = await client.post("/v1/measurements", json={**MINIMAL_REQUEST, "from": checkpoint}, headers=key)
    assert refused.status_code == 403
    assert refused.json()["type"].endswith("not-released")
    headers = await key_headers(service, made_by.organisation, "models:probe", "release:write")
    assert (
        await client.post("/v1/measurements", json={**MINIMAL_REQUEST, "from": checkpoint}, headers=headers)
    ).status_code == 202
    alone = await key_headers(service, made_by.organisation, "jobs:write", "jobs:read")
    for answer in (
        await client.post("/v1/measurements", json=MINIMAL_REQUEST, headers=alone),
        await client.get("/v1/measurements", headers=alone),
    ):
        assert answer.status_code == 403


async def key_headers(service: Service, organisation: str, *scopes: str) -> dict[str, str]:
    async with service.sessions() as session:
        row = await session.get(Organisation, organisation)
    assert row is not None
    return {"Authorization": f"Bearer {await service.key(*scopes, organisation=row.name)}"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"model": "demo"}, ""),
        ({**MINIMAL_REQUEST, "model": "nobody"}, "/model"),
        ({**MINIMAL_REQUEST, "from": "ckpt-" + "0" * 32}, "/from"),
        ({**MINIMAL_REQUEST, "from": "tail"}, "/from"),
        ({**MINIMAL_REQUEST, "measure": ["vibes"]}, "/measure/0"),
        ({**MINIMAL_REQUEST, "measure": ["standard", {"name": "likelihood", "records": 0}]}, "/measure/1/records"),
        ({**MINIMAL_REQUEST, "reading": {"max_length": 65}}, "/reading/max_length"),
        ({**MINIMAL_REQUEST, "unseen": {"file": "file-" + "0" * 32}}, "/unseen/file"),
        ({**MINIMAL_REQUEST, "retrained_model": "nobody"}, "/retrained_model"),
        ({**MINIMAL_REQUEST, "forget": {"records": ["x" * 3000]}}, "/forget/records/0"),
        ({**MINIMAL_REQUEST, "method": "npo"}, "/method"),
        ({**MINIMAL_REQUEST, "preset": "vibes"}, "/preset"),
    ],
)
async def test_an_invalid_measurement_request_is_refused_before_it_is_queued(
    service: Service, client: httpx.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    await register_ready_model(service, client)
    refused = await client.post("/v1/measurements", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["pointer"] == pointer
    assert "zq-canary" not in refused.text
    assert (await client.get("/v1/measurements")).json()["data"] == []


async def test_an_adapter_checkpoint_is_measured_only_on_the_registered_model(
    service: Service, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await register_ready_model(service, client)
    _, full = await deliver_checkpoint(service, client)
    alone, later = [await deliver_adapter(service, client, start) for start in ("base", "head")]
    assert (await client.get("/v1/models/demo")).json()["head"] == full

    refused = await client.post("/v1/measurements", json={**MINIMAL_REQUEST, "from": later})
    assert (refused.status_code, refused.json()["type"].split(":")[-1]) == (422, "adapter-alone")
    assert "unlearn measure" in refused.json()["errors"][0]["detail"]
    for start, adapter in ((alone, True), (full, False)):
        measurement = await submit(client, **{"from": start})
        await claim_job(service, measurement["id"])
        async with service.sessions() as session:
            row = await session.get(JobRow, measurement["id"])
            assert row is not None
            assigned = await assignment.read(session, row, key_check=b"")
        spec = assigned.spec(Scratch(tmp_path, measurement["id"], 1), token="t", threads=1)
        assert spec.directory == Scratch(tmp_path, measurement["id"], 1).start
        assert spec.base == (Path(str(assigned.model.directory)) if adapter else None)


async def deliver_adapter(service: Service, client: httpx.AsyncClient, start: str) -> str:
    """Finishes a job that delivers only an adapter; returns its checkpoint's id."""
    body = {**MINIMAL_REQUEST, "from": start, "output": "adapter", "training": {"lora": {}}}
    answer = await client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()["id"]
    return await finish_job(service, job, await claim_job(service, job), {"adapter_config.json": b"{}"})
