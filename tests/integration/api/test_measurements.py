"""`/v1/measurements`: asked for, done as a job is, shown as figures, in nobody's way."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from core.evaluation.presets import PRESETS
from core.records import completion, progress
from core.records.tables import CheckpointRow, JobRow, Organisation
from core.schema.evaluation import Figure, Measurements
from core.schema.policies import Verdict
from tests.integration.api.service import Service, file_of, ready_model
from tests.integration.api.work import claim, finish
from worker import assignment
from worker.scratch import Scratch

LEAST = {"model": "demo", "forget": {"records": ["zq-canary lives in Pell"]}}


async def asked(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/measurements", json={**LEAST, **more})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/measurements/{answer.json()['id']}"
    found: dict[str, Any] = answer.json()
    return found


async def delivered(service: Service, client: httpx.AsyncClient, verdict: Verdict = "passed") -> tuple[str, str]:
    """(job, checkpoint) of a job that was done."""
    answer = await client.post("/v1/jobs", json=LEAST)
    assert answer.status_code == 202, answer.text
    made = answer.json()
    fence = await claim(service, made["id"])
    return made["id"], await finish(service, made["id"], fence, {"config.json": b"{}"}, verdict=verdict)


async def test_a_measurement_is_queued_claimed_beside_a_job_on_the_model_and_shows_its_figures(
    service: Service, client: httpx.AsyncClient
) -> None:
    await ready_model(service, client)
    running = (await client.post("/v1/jobs", json=LEAST)).json()
    await claim(service, running["id"])
    unseen = await file_of(client, "unseen")
    made = await asked(client, unseen={"file": unseen}, measure=["likelihood"], metadata={"team": "privacy"})
    assert (made["status"], made["from"], made["measure"]) == ("queued", "base", ["likelihood"])
    assert [(one["name"], one["file"], one["records"]) for one in made["data"]] == [
        ("forget", None, 1),
        ("unseen", unseen, 3),
    ]
    assert made["reading"] == {"max_length": 64, "chat": "auto", "seed": 0}
    fence = await claim(service, made["id"])
    after = (await client.post("/v1/jobs", json={**LEAST, "from": "base"})).json()
    await claim(service, after["id"])  # nor does the measurement hold up a job

    figure = Figure(value=2.0, low=1.0, high=3.0, records=1)
    found = Measurements(sets={"forget": {"perplexity": figure}}, seconds=1.0, model_digest="0" * 64)
    async with service.sessions.begin() as session:
        await progress.add_measurements(session, made["id"], fence, "after", found)
    assert (await client.get(f"/v1/measurements/{made['id']}")).json()["measurements"] is None
    async with service.sessions.begin() as session:
        await completion.finish_without_checkpoint(session, made["id"], fence, outcome=None)
    over = (await client.get(f"/v1/measurements/{made['id']}")).json()
    assert over["status"] == "succeeded"
    assert over["measurements"] == found.model_dump(mode="json")
    assert over["metadata"] == {"team": "privacy"}
    (listed,) = (await client.get("/v1/measurements")).json()["data"]
    assert listed == {**over, "measurements": None}
    assert made["id"] not in [one["id"] for one in (await client.get("/v1/jobs")).json()["data"]]
    assert (await client.get(f"/v1/jobs/{made['id']}")).json()["kind"] == "measure"
    assert (await client.get(f"/v1/measurements/{running['id']}")).status_code == 404
    assert (await client.post(f"/v1/measurements/{running['id']}/cancel")).status_code == 404


async def test_a_preset_measures_what_its_table_holds_and_shows_the_table(
    service: Service, client: httpx.AsyncClient
) -> None:
    await ready_model(service, client)
    made = await asked(client, preset="tofu")
    names = [one if isinstance(one, str) else one["name"] for one in made["measure"]]
    assert names == [one if isinstance(one, str) else one.name for one in PRESETS["tofu"].measure]
    assert (await asked(client, preset="muse", measure=["relearned"]))["measure"][0] == "relearned"
    fence = await claim(service, made["id"])
    figure = Figure(value=0.25, low=None, high=None, records=1)
    found = Measurements(sets={"forget": {"probability": figure}}, seconds=1.0, model_digest="0" * 64)
    async with service.sessions.begin() as session:
        await progress.add_measurements(session, made["id"], fence, "after", found)
        await completion.finish_without_checkpoint(session, made["id"], fence, outcome=None)
    over = (await client.get(f"/v1/measurements/{made['id']}")).json()
    assert (over["preset"], over["table"]) == ("tofu", {"forget_Q_A_Prob": 0.25})


async def test_a_measurement_that_waits_is_cancelled_and_its_file_is_free_again(
    service: Service, client: httpx.AsyncClient
) -> None:
    await ready_model(service, client)
    file = await file_of(client, "general")
    made = await asked(client, general={"file": file})
    assert (await client.delete(f"/v1/files/{file}")).status_code == 409
    cancelled = await client.post(f"/v1/measurements/{made['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    assert (await client.post(f"/v1/measurements/{made['id']}/cancel")).status_code == 409
    assert (await client.delete(f"/v1/files/{file}")).status_code == 204


async def test_the_same_key_asks_once(service: Service, client: httpx.AsyncClient) -> None:
    await ready_model(service, client)
    key = {"Idempotency-Key": "m-1"}
    one, two = [await client.post("/v1/measurements", json=LEAST, headers=key) for _ in range(2)]
    assert one.json() == two.json()
    assert two.headers["idempotency-replayed"] == "true"
    assert len((await client.get("/v1/measurements")).json()["data"]) == 1


async def test_the_head_is_pinned_and_any_checkpoint_of_the_model_may_be_named(
    service: Service, client: httpx.AsyncClient
) -> None:
    await ready_model(service, client, release="always")
    _, head = await delivered(service, client)
    assert (await asked(client))["from"] == head
    assert (await asked(client, **{"from": "base"}))["from"] == "base"
    assert (await asked(client, **{"from": head}))["from"] == head
    await ready_model(service, client, "other", defaults={})
    foreign = await client.post("/v1/measurements", json={**LEAST, "model": "other", "from": head})
    assert (foreign.status_code, foreign.json()["errors"][0]["pointer"]) == (422, "/from")


async def test_what_waits_for_release_is_measured_for_those_who_may_release_it(
    service: Service, client: httpx.AsyncClient
) -> None:
    await ready_model(service, client, release="on_pass")
    job, checkpoint = await delivered(service, client, "failed")
    async with service.sessions.begin() as session:
        row = await session.get(CheckpointRow, checkpoint)
        assert row is not None
        assert not row.released
        made_by = await session.get(JobRow, job)
        assert made_by is not None
    assert (await asked(client, **{"from": checkpoint}))["from"] == checkpoint  # an admin may
    key = await _key(service, made_by.organisation, "models:probe")
    refused = await client.post("/v1/measurements", json={**LEAST, "from": checkpoint}, headers=key)
    assert refused.status_code == 403
    assert refused.json()["type"].endswith("not-released")
    both = await _key(service, made_by.organisation, "models:probe", "release:write")
    assert (await client.post("/v1/measurements", json={**LEAST, "from": checkpoint}, headers=both)).status_code == 202
    alone = await _key(service, made_by.organisation, "jobs:write", "jobs:read")
    for answer in (
        await client.post("/v1/measurements", json=LEAST, headers=alone),
        await client.get("/v1/measurements", headers=alone),
    ):
        assert answer.status_code == 403


async def _key(service: Service, organisation: str, *scopes: str) -> dict[str, str]:
    async with service.sessions() as session:
        row = await session.get(Organisation, organisation)
    assert row is not None
    return {"Authorization": f"Bearer {await service.key(*scopes, organisation=row.name)}"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"model": "demo"}, ""),
        ({**LEAST, "model": "nobody"}, "/model"),
        ({**LEAST, "from": "ckpt-" + "0" * 32}, "/from"),
        ({**LEAST, "from": "tail"}, "/from"),
        ({**LEAST, "measure": ["vibes"]}, "/measure/0"),
        ({**LEAST, "measure": ["standard", {"name": "likelihood", "records": 0}]}, "/measure/1/records"),
        ({**LEAST, "reading": {"max_length": 65}}, "/reading/max_length"),
        ({**LEAST, "unseen": {"file": "file-" + "0" * 32}}, "/unseen/file"),
        ({**LEAST, "retrained_model": "nobody"}, "/retrained_model"),
        ({**LEAST, "forget": {"records": ["x" * 3000]}}, "/forget/records/0"),
        ({**LEAST, "method": "npo"}, "/method"),
        ({**LEAST, "preset": "vibes"}, "/preset"),
    ],
)
async def test_what_is_wrong_is_said_before_anything_is_queued(
    service: Service, client: httpx.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    await ready_model(service, client)
    refused = await client.post("/v1/measurements", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["pointer"] == pointer
    assert "zq-canary" not in refused.text
    assert (await client.get("/v1/measurements")).json()["data"] == []


async def test_an_adapter_alone_is_measured_on_the_model_that_is_registered_and_on_no_other(
    service: Service, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await ready_model(service, client)
    _, whole = await delivered(service, client)
    alone, later = [await adapter_of(service, client, start) for start in ("base", "head")]
    assert (await client.get("/v1/models/demo")).json()["head"] == whole

    refused = await client.post("/v1/measurements", json={**LEAST, "from": later})
    assert (refused.status_code, refused.json()["type"].split(":")[-1]) == (422, "adapter-alone")
    assert "unlearn measure" in refused.json()["errors"][0]["detail"]
    for start, adapter in ((alone, True), (whole, False)):
        made = await asked(client, **{"from": start})
        await claim(service, made["id"])
        async with service.sessions() as session:
            row = await session.get(JobRow, made["id"])
            assert row is not None
            assigned = await assignment.read(session, row)
        spec = assigned.spec(Scratch(tmp_path, made["id"], 1), token="t", threads=1)
        assert spec.directory == Scratch(tmp_path, made["id"], 1).start
        assert spec.base == (Path(str(assigned.model.directory)) if adapter else None)


async def adapter_of(service: Service, client: httpx.AsyncClient, start: str) -> str:
    """The checkpoint of a job that delivered an adapter alone."""
    body = {**LEAST, "from": start, "output": "adapter", "training": {"lora": {}}}
    answer = await client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()["id"]
    return await finish(service, job, await claim(service, job), {"adapter_config.json": b"{}"})
