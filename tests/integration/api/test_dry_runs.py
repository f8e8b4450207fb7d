"""Options of a job: probes, a retrained model beside it, and dry runs, which change nothing."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from core.evaluation.policy import preview
from core.records import completion, leases
from core.records.leases import FenceLost
from tests.integration.api.model_directory import write_model
from tests.integration.api.service import Service, register_ready_model, upload_records, wait_for_registration
from tests.integration.api.worker_actions import claim_job, record_measurements

OWN = [
    choice if isinstance(choice, str) else choice.model_dump(mode="json") for choice in preview.measurement_choices()
]
MINIMAL_REQUEST = {"model": "demo", "forget": {"records": ["Zorvek Halmi lives in Pell"]}}


async def register_model(service: Service, client: httpx.AsyncClient, name: str, **config: Any) -> None:
    directory = write_model(service.roots / uuid4().hex, **config)
    answer = await client.post("/v1/models", json={"id": name, "source": str(directory)})
    assert answer.status_code == 202, answer.text
    assert (await wait_for_registration(client, name))["status"] == "ready"


async def test_probes_of_the_request_and_of_the_model_are_separate_sets(
    service: Service, client: httpx.AsyncClient
) -> None:
    defaults = {name: await upload_records(client, name) for name in ("retain", "unseen", "probes")}
    await register_ready_model(service, client, defaults=defaults)
    request_probes = await upload_records(client, "probes")
    job = (await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "probes": {"file": request_probes}})).json()
    used = {data_set["name"]: data_set["file"] for data_set in job["data"]}
    assert (used["probes"], used["protected"]) == (request_probes, defaults["probes"])
    wrong = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "probes": {"file": defaults["unseen"]}})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["pointer"] == "/probes/file"


async def test_a_retrained_model_cannot_be_deleted_while_its_job_needs_it(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    await register_model(service, client, "retrained", eos_token_id=2)
    job = (await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "retrained_model": "retrained"})).json()
    assert job["retrained_model"] == "retrained"
    refused = await client.delete("/v1/models/retrained")
    assert refused.status_code == 409
    assert job["id"] in refused.json()["detail"]
    assert (await client.post(f"/v1/jobs/{job['id']}/cancel")).status_code == 202
    assert (await client.delete("/v1/models/retrained")).status_code == 204


@pytest.mark.parametrize(
    ("name", "kind"), [("nobody", "unknown-model"), ("demo", "no-reference"), ("larger", "other-vocabulary")]
)
@pytest.mark.parametrize("field", ["retrained_model", "reference_model"])
async def test_a_model_that_cannot_be_the_retrained_model_is_refused(
    service: Service, client: httpx.AsyncClient, field: str, name: str, kind: str
) -> None:
    await register_ready_model(service, client)
    if name == "larger":
        await register_model(service, client, name, vocab_size=17)
    refused = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, field: name})
    assert refused.status_code == 422
    assert refused.json()["type"].endswith(kind)
    assert refused.json()["errors"][0]["pointer"] == f"/{field}"


async def test_a_dry_run_also_measures_what_the_request_names(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    await register_model(service, client, "retrained", eos_token_id=2)

    async def submit(*measure: Any) -> httpx.Response:
        body = {**MINIMAL_REQUEST, "dry_run": True, "retrained_model": "retrained", "evaluation": {"measure": measure}}
        return await client.post("/v1/jobs", json=body)

    few = {"name": "verbatim", "records": 9}
    job = (await submit("privleak", few)).json()
    others = [choice for choice in OWN if choice != {"name": "verbatim", "seconds": preview.SECONDS}]
    assert len(others) == len(OWN) - 1
    assert job["evaluation"]["measure"] == [*others, "privleak", few]
    assert job["retrained_model"] == "retrained"
    assert (await submit("thorough")).json()["evaluation"]["measure"] == [*OWN, "thorough"]
    assert (await submit({"name": "exposure", "twins": preview.TWINS, "control": False})).status_code == 202
    for measure, pointer, kind in (
        ("quantized", "/evaluation/measure/1", "not-in-a-dry-run"),
        ({"name": "likelihood", "only": ["unseen"]}, "/evaluation/measure/1/only", "measurement-loosened"),
        ("charm", "/evaluation/measure/1", "unknown-measurement"),
    ):
        refused = await submit("privleak", measure)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
        assert refused.json()["type"].endswith(kind)


async def test_a_dry_run_without_a_set_that_its_method_needs_carries_a_warning(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client, defaults={})
    body = {**MINIMAL_REQUEST, "method": "calibrated"}
    dry = (await client.post("/v1/jobs", json={**body, "dry_run": True})).json()
    warning = next(warning for warning in dry["warnings"] if warning["code"] == "missing_data")
    assert "has a set of the name retain or unseen" in warning["message"]
    assert [used["name"] for used in dry["data"]] == ["forget"]
    other = (
        await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "dry_run": True, "method": "gradient_ascent"})
    ).json()
    assert other["warnings"] == []


async def test_a_dry_run_only_measures_waits_for_no_job_and_makes_no_checkpoint(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    real = (await client.post("/v1/jobs", json=MINIMAL_REQUEST)).json()
    dry = (await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "dry_run": True})).json()
    assert (real["kind"], dry["kind"], dry["from"]) == ("unlearn", "preview", "base")
    assert dry["evaluation"]["measure"] == OWN
    assert dry["estimate"]["peak_host_bytes"] < real["estimate"]["peak_host_bytes"]
    nothing = ("tokens", "trained_parameters", "scratch_bytes")
    assert [dry["estimate"][name] for name in nothing] == [0, 0, 0]
    assert all(real["estimate"][name] > 0 for name in nothing)
    await claim_job(service, real["id"])
    fence = await claim_job(service, dry["id"])  # while the other job runs from the same head
    await record_measurements(service, dry["id"], fence, 7.0)
    with pytest.raises(FenceLost):
        async with service.sessions.begin() as session:
            await completion.finish_without_checkpoint(session, dry["id"], fence - 1, outcome="preview")
    async with service.sessions.begin() as session:
        await completion.finish_without_checkpoint(session, dry["id"], fence, outcome="nothing_to_forget")
    async with service.sessions() as session:
        assert await completion.was_finished_without_checkpoint(session, dry["id"], fence)
        assert not await completion.was_finished_without_checkpoint(session, dry["id"], fence + 1)
        assert not await completion.was_finished_without_checkpoint(session, real["id"], fence)
    with pytest.raises(FenceLost):
        async with service.sessions.begin() as session:
            await leases.renew(session, dry["id"], fence, lease_seconds=9)
    over = (await client.get(f"/v1/jobs/{dry['id']}")).json()
    assert (over["status"], over["outcome"], over["checkpoint"], over["verdict"]) == (
        "succeeded",
        "nothing_to_forget",
        None,
        None,
    )
    model = (await client.get("/v1/models/demo")).json()
    assert model["head"] is None
    listed = (await client.get("/v1/jobs", params={"kind": "preview"})).json()["data"]
    assert [job["id"] for job in listed] == [dry["id"]]
    assert len((await client.get("/v1/jobs")).json()["data"]) == 2
    assert (await client.get("/v1/jobs", params={"kind": "measure"})).json()["data"] == []
