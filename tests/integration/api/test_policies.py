"""Policies, and the policy of a job."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from core.records import jobs
from core.schema.default_policy import DEFAULT_POLICY
from tests.integration.api.model_directory import write_model
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.worker_actions import claim_job, finish_job

EXTRACTION = {"name": "verbatim-text", "set": "forget", "figure": "extraction_strength", "high": 0.1}
RETAIN = {
    "name": "kept-text",
    "set": "retain",
    "figure": "perplexity",
    "against": "before",
    "by": "ratio",
    "high": 1.05,
}
HOUSE: dict[str, Any] = {"name": "house", "bounds": [EXTRACTION, RETAIN]}


async def submit(client: httpx.AsyncClient, **evaluation: Any) -> httpx.Response:
    body = {"model": "demo", "forget": {"records": ["a b"]}, "evaluation": evaluation}
    return await client.post("/v1/jobs", json=body)


def problem_fields(answer: httpx.Response) -> tuple[int, str, str, str]:
    problem = answer.json()
    (error,) = problem["errors"]
    return answer.status_code, problem["type"].rpartition(":")[2], error["pointer"], error["detail"]


async def test_a_policy_is_created_listed_and_deleted(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "once"}
    created = await client.post("/v1/policies", json=HOUSE, headers=headers)
    assert (created.status_code, created.headers["location"]) == (201, "/v1/policies/house")
    assert (await client.post("/v1/policies", json=HOUSE, headers=headers)).json() == created.json()
    taken = await client.post("/v1/policies", json=HOUSE)
    assert (taken.status_code, taken.json()["type"].rpartition(":")[2]) == (409, "already-exists")
    policy = (await client.get("/v1/policies/house")).json()
    assert policy == created.json()
    assert policy["built_in"] is False
    assert policy["created_by"] == (await client.get("/v1/keys/self")).json()["id"]
    assert [bound["name"] for bound in policy["bounds"]] == ["verbatim-text", "kept-text"]
    assert (await client.delete("/v1/policies/house")).status_code == 204
    assert (await client.get("/v1/policies/house")).status_code == 404
    assert (await client.delete("/v1/policies/house")).status_code == 404


async def test_the_built_in_policy_is_listed_in_order_and_cannot_be_deleted(client: httpx.AsyncClient) -> None:
    for name in ("a-first", "zz_last", "default.2"):
        assert (await client.post("/v1/policies", json={**HOUSE, "name": name})).status_code == 201
    everything = (await client.get("/v1/policies")).json()
    names = ["a-first", "default", "default.2", "zz_last"]
    assert [policy["name"] for policy in everything["data"]] == names
    seen, after = [], None
    for _ in names:
        page = (await client.get("/v1/policies", params={"limit": 1, **({"after": after} if after else {})})).json()
        seen += [policy["name"] for policy in page["data"]]
        after = page["last_id"]
        assert page["has_more"] == (len(seen) < len(names))
    assert seen == names
    built_in = (await client.get("/v1/policies/default")).json()
    assert (built_in["built_in"], built_in["created_at"]) == (True, None)
    assert len(built_in["bounds"]) == len(DEFAULT_POLICY.bounds)
    for answer in (
        await client.post("/v1/policies", json={**HOUSE, "name": "default"}),
        await client.delete("/v1/policies/default"),
    ):
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, "built-in")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": "No Spaces"}, "/name"),
        ({"bounds": []}, "/bounds"),
        ({"bounds": [{**EXTRACTION, "figure": "charm"}]}, "/bounds/0"),
        ({"bounds": [{**EXTRACTION, "high": None}]}, "/bounds/0"),
        ({"bounds": [EXTRACTION, EXTRACTION]}, "/bounds"),
        ({"limit": 3}, "/limit"),
    ],
)
async def test_an_invalid_policy_is_422_with_its_pointer(
    client: httpx.AsyncClient, change: dict[str, Any], pointer: str
) -> None:
    answer = await client.post("/v1/policies", json={**HOUSE, **change})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_policies_belong_to_an_organisation_and_need_the_scope_models_write(service: Service) -> None:
    organisation = uuid4().hex
    async with (
        service.client("models:write", "release:write", organisation=organisation) as writer,
        service.client("jobs:write", organisation=organisation) as other,
        service.client() as stranger,
    ):
        assert (await other.post("/v1/policies", json=HOUSE)).status_code == 403
        assert (await writer.post("/v1/policies", json=HOUSE)).status_code == 201
        assert (await other.delete("/v1/policies/house")).status_code == 403
        assert (await other.get("/v1/policies/house")).status_code == 200
        assert (await stranger.get("/v1/policies/house")).status_code == 404
        assert (await stranger.delete("/v1/policies/house")).status_code == 404
        assert [policy["name"] for policy in (await stranger.get("/v1/policies")).json()["data"]] == ["default"]


def forbidden_detail(answer: httpx.Response) -> str:
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (403, "forbidden")
    assert "lacks the scope release:write" in answer.json()["detail"]
    return str(answer.json()["detail"])


async def test_a_submitter_cannot_loosen_the_policy_by_registering_the_model_again(service: Service) -> None:
    organisation = uuid4().hex
    tighter = {**DEFAULT_POLICY.model_dump(mode="json"), "name": "tighter"}
    tighter["bounds"] = [*tighter["bounds"], {**EXTRACTION, "name": "more"}]
    source = str(write_model(service.roots / uuid4().hex))
    async with (
        service.client("models:write", "jobs:write", organisation=organisation) as submitter,
        service.client("models:write", "release:write", organisation=organisation) as operator,
    ):
        detail = forbidden_detail(await submitter.post("/v1/policies", json=HOUSE))
        assert "looser than the default one (bound 'perplexity' is missing)" in detail
        assert (await submitter.post("/v1/policies", json=tighter)).status_code == 201
        assert (await operator.post("/v1/policies", json=HOUSE)).status_code == 201
        model = {"id": "again", "source": source}
        forbidden_detail(await submitter.post("/v1/models", json={**model, "release": "always"}))
        assert "'house' is looser" in forbidden_detail(
            await submitter.post("/v1/models", json={**model, "policy": "house"})
        )
        assert (await submitter.get("/v1/models/again")).status_code == 404
        allowed = {**model, "policy": "tighter", "release": "on_pass"}
        assert (await submitter.post("/v1/models", json=allowed)).status_code == 202
        assert (
            await operator.post("/v1/models", json={**model, "id": "free", "policy": "house", "release": "always"})
        ).status_code == 202


async def test_a_policy_stays_while_a_model_has_it_pinned(service: Service, client: httpx.AsyncClient) -> None:
    await client.post("/v1/policies", json=HOUSE)
    model = await register_ready_model(service, client, policy="house")
    assert model["policy"] == "house"
    refused = await client.delete("/v1/policies/house")
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (409, "in-use")
    assert "demo" in refused.json()["detail"]
    assert (await client.delete("/v1/models/demo")).status_code == 204
    assert (await client.delete("/v1/policies/house")).status_code == 204
    source = str(write_model(service.roots / uuid4().hex))
    gone = await client.post("/v1/models", json={"id": "other", "source": source, "policy": "house"})
    assert problem_fields(gone)[:3] == (422, "unknown-policy", "/policy")
    assert (await register_ready_model(service, client, "plain"))["policy"] == "default"


async def test_a_job_stores_its_measurements_and_its_policy(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    plain = (await submit(client)).json()
    assert plain["evaluation"] == {"measure": ["standard"], "policy": "default"}
    assert plain["verdict"] is None
    metrics = (await client.get(plain["links"]["metrics"])).json()
    assert metrics["policy"] == DEFAULT_POLICY.model_dump(mode="json")
    assert metrics["judgement"] is None
    measure = ["standard", {"name": "cloze", "records": 20}]
    chosen = await submit(client, measure=measure, policy="default")
    assert chosen.json()["evaluation"] == {"measure": measure, "policy": "default"}


@pytest.mark.parametrize(
    ("measure", "pointer"),
    [
        (["standard", "charm"], "/evaluation/measure/1"),
        ([{"name": "charm"}], "/evaluation/measure/0"),
        ([{"name": "likelihood", "records": 0}], "/evaluation/measure/0/records"),
        (["likelihood", {"name": "likelihood", "charm": 1}], "/evaluation/measure/1/charm"),
        ([], "/evaluation/measure"),
    ],
)
async def test_an_unknown_measurement_is_422_with_its_pointer(
    service: Service, client: httpx.AsyncClient, measure: list[Any], pointer: str
) -> None:
    await register_ready_model(service, client)
    answer = await submit(client, measure=measure)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_a_request_may_tighten_the_models_policy(service: Service, client: httpx.AsyncClient) -> None:
    await client.post("/v1/policies", json=HOUSE)
    await register_ready_model(service, client, policy="house")
    assert (await submit(client)).json()["evaluation"]["policy"] == "house"
    further = {"name": "general", "set": "general", "figure": "perplexity", "against": "before", "high": 5.0}
    request_policy = {"name": "tight", "bounds": [{**EXTRACTION, "high": 0.01}, further]}
    job = (await submit(client, policy=request_policy)).json()
    assert job["evaluation"]["policy"] == "tight"
    policy = (await client.get(job["links"]["metrics"])).json()["policy"]
    assert [(bound["name"], bound["high"], bound["added"]) for bound in policy["bounds"]] == [
        ("verbatim-text", 0.01, False),
        ("kept-text", 1.05, False),  # the model's bounds stay, whether the request names them or not
        ("general", 5.0, True),
    ]
    kept_tighter = {"name": "kept-tighter", "bounds": [{**RETAIN, "high": 1.01}]}  # no bound on the forget set
    only = (await submit(client, policy=kept_tighter)).json()
    policy_of_only = (await client.get(only["links"]["metrics"])).json()["policy"]
    assert [(bound["name"], bound["high"]) for bound in policy_of_only["bounds"]] == [
        ("verbatim-text", 0.1),
        ("kept-text", 1.01),
    ]
    await client.post("/v1/policies", json=request_policy)
    named = (await submit(client, policy="tight")).json()
    assert (await client.get(named["links"]["metrics"])).json()["policy"] == policy


async def test_a_request_may_not_loosen_the_models_policy(service: Service, client: httpx.AsyncClient) -> None:
    await client.post("/v1/policies", json=HOUSE)
    await register_ready_model(service, client, policy="house")
    loose = {"name": "loose", "bounds": [{**EXTRACTION, "high": 0.5}, {**RETAIN, "high": 2.0}]}
    status, name, pointer, detail = problem_fields(await submit(client, policy=loose))
    assert (status, name, pointer) == (422, "policy-loosened", "/evaluation/policy")
    assert "'house'" in detail
    assert "bound 'verbatim-text': high may not be over 0.1" in detail
    assert "bound 'kept-text': high may not be over 1.05" in detail
    await client.post("/v1/policies", json=loose)
    assert problem_fields(await submit(client, policy="loose"))[1] == "policy-loosened"
    assert problem_fields(await submit(client, policy="nobodys"))[:3] == (422, "unknown-policy", "/evaluation/policy")
    assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_a_model_without_a_policy_of_its_own_has_the_built_in_policy(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    bound = DEFAULT_POLICY.bounds[0].model_dump(mode="json")
    request_policy = {"name": "mine", "bounds": [bound | {"high": (bound["high"] or 0) + 1}]}
    assert problem_fields(await submit(client, policy=request_policy))[1] == "policy-loosened"


async def test_a_policy_name_is_used_once(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    tight = {**EXTRACTION, "name": "mine"}
    for name in ("default", "house"):
        await client.post("/v1/policies", json=HOUSE)
        answer = await submit(client, policy={"name": name, "bounds": [tight]})
        assert problem_fields(answer)[:3] == (422, "name-taken", "/evaluation/policy/name")
    assert (await submit(client, policy=HOUSE)).status_code == 202


async def test_a_job_keeps_its_policy_when_that_is_deleted(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    await client.post("/v1/policies", json=HOUSE)
    job = (await submit(client, policy="house")).json()
    before = (await client.get(job["links"]["metrics"])).json()["policy"]
    assert (await client.delete("/v1/policies/house")).status_code == 204
    assert (await client.get(job["links"]["metrics"])).json()["policy"] == before
    async with service.sessions() as session:
        row = await jobs.get(session, (await client.get("/v1/keys/self")).json()["organisation"], job["id"])
    assert row is not None
    assert row.policy == before


async def test_the_verdict_is_shown_on_the_job_and_per_bound_with_its_figures(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    id = (await submit(client)).json()["id"]
    checkpoint = await finish_job(service, id, await claim_job(service, id), {"config.json": b"{}"}, verdict="failed")
    job = (await client.get(f"/v1/jobs/{id}")).json()
    assert (job["status"], job["verdict"]) == ("succeeded", "failed")
    assert [job["id"] for job in (await client.get("/v1/jobs", params={"verdict": "failed"})).json()["data"]] == [id]
    assert (await client.get("/v1/jobs", params={"verdict": "passed"})).json()["data"] == []
    judgement = (await client.get(job["links"]["metrics"])).json()["judgement"]
    assert (judgement["verdict"], judgement["scope"], judgement["policy"]) == ("failed", "verbatim", "default")
    assert [judged["bound"]["name"] for judged in judgement["bounds"]] == [
        bound.name for bound in DEFAULT_POLICY.bounds
    ]
    released = (await client.get(f"/v1/checkpoints/{checkpoint}")).json()
    assert (released["verdict"], released["released"], released["released_at"]) == ("failed", False, None)


async def test_measurements_that_the_policy_needs_are_added_to_the_request(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    job = (await submit(client, measure=["likelihood"])).json()
    assert job["evaluation"]["measure"][0] == "likelihood"
    assert {"membership", "exposure", "cloze", "quantized"} < set(job["evaluation"]["measure"])
    (message,) = [warning["message"] for warning in job["warnings"] if warning["code"] == "measurements_added"]
    assert "'exposure'" in message
    assert not [
        warning for warning in (await submit(client)).json()["warnings"] if warning["code"] == "measurements_added"
    ]


async def test_a_measurement_that_the_policy_needs_cannot_be_weakened(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    blunt = {"name": "membership", "judged": 1}
    status, name, pointer, detail = problem_fields(await submit(client, measure=["standard", blunt]))
    assert (status, name, pointer) == (422, "measurement-loosened", "/evaluation/measure/1/judged")
    assert "'default'" in detail
    closer = [{"name": "exposure", "twins": 200, "records": 4}, {"name": "relearned", "steps": 1}]
    assert (await submit(client, measure=["standard", *closer])).status_code == 202
