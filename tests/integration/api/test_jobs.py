import asyncio
import json

import httpx
import pytest
from sqlalchemy import select

from api.dependencies import FILE_READERS
from core.records import files as file_rows
from core.records import idempotency
from core.records.tables import FileRow, JobRow, ModelRow, OutboxRow
from core.schema.parsing import parse_records
from core.storage.uploads import read_upload
from tests.integration.api.service import Service, register_ready_model, upload, upload_records
from tests.integration.api.submission import MINIMAL_REQUEST, submit_job


async def test_a_minimal_request_is_queued_with_every_default_filled_in(
    service: Service, client: httpx.AsyncClient
) -> None:
    model = await register_ready_model(service, client)
    answer = await client.post("/v1/jobs", json=MINIMAL_REQUEST)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["method"]["name"], job["from"]) == ("queued", "calibrated", "head")
    assert job["method"]["parameters"]["retain_term"] == "kl"
    assert [name for name, value in job["training"].items() if value is None] == ["lora"]
    assert [(data_set["name"], data_set["records"]) for data_set in job["data"]] == [
        ("forget", 1),
        ("retain", 3),
        ("unseen", 3),
    ]
    assert [data_set["file"] for data_set in job["data"]] == [
        None,
        model["defaults"]["retain"],
        model["defaults"]["unseen"],
    ]
    assert job["data"][0]["sha256"] is None
    assert [data_set["origin"] for data_set in job["data"]] == ["request", "model", "model"]
    assert (await client.get(f"/v1/jobs/{job['id']}")).json() == {**job, "waiting_for": "a worker"}


async def test_a_job_makes_the_sets_that_neither_the_request_nor_the_model_has(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client, defaults={})
    alone = await submit_job(client)
    assert [(used["name"], used["origin"], used["records"], used["file"]) for used in alone["data"]] == [
        ("forget", "request", 1, None),
        ("retain", "made", 0, None),
        ("unseen", "made", 0, None),
    ]
    retain = await upload_records(client, "retain")
    brought = await submit_job(client, retain=[{"file": retain}])
    assert [(used["name"], used["origin"]) for used in brought["data"]] == [
        ("forget", "request"),
        ("retain", "request"),
        ("unseen", "made"),
    ]
    other = await submit_job(client, method="gradient_ascent")
    assert [(used["name"], used["origin"]) for used in other["data"]] == [("forget", "request"), ("retain", "made")]
    assert other["estimate"]["tokens"] < alone["estimate"]["tokens"], "made records count where they train"


async def test_inline_records_are_stored_encrypted_as_a_file(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    question = {"prompt": "Who?", "completion": "Zorvek", "subject": "zorvek"}
    mixed = ["plain text", question, {"question": "Where?", "answer": "Pell", "id": 7}]
    job = await submit_job(client, forget={"records": mixed})
    async with service.sessions() as session:
        (use, row), *_ = await file_rows.list_for_job(session, job["id"])
    assert (use.name, row.purpose, row.records) == ("forget", "forget", 3)
    plain = [
        chunk
        async for chunk in read_upload(service.context.storage, row.id, row.wrapped_key, service.context.file_keys)
    ]
    assert [record.model_dump(exclude_none=True) for _, record in parse_records(plain, "jsonl")] == [
        {"text": "plain text"},
        question,
        {"prompt": "Where?", "completion": "Pell", "id": "7"},
    ]
    assert (await client.delete(f"/v1/files/{row.id}")).status_code == 409


async def test_a_complete_request_is_stored_unchanged(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client, defaults={})
    forget, retain, general, unseen = [
        await upload_records(client, purpose, records=count)
        for purpose, count in (("forget", 2), ("retain", 4), ("general", 5), ("unseen", 6))
    ]
    job = await submit_job(
        client,
        **{"from": "base"},
        forget={"file": forget},
        retain=[{"file": retain, "weight": 2.0}, {"file": general, "kind": "general"}],
        unseen={"file": unseen},
        method={"name": "ascent_kl", "retain_weight": 3.0},
        training={"learning_rate": 1e-3, "epochs": 2, "seed": 7},
        resources={"gpus": 0},
        reference="DSR-1",
        received_at="2026-11-20T09:30:00+01:00",
        due="2026-12-20",
        metadata={"team": "privacy"},
    )
    assert [
        (data_set["file"], data_set["kind"], data_set["weight"], data_set["records"]) for data_set in job["data"]
    ] == [
        (forget, None, None, 2),
        (retain, "in_distribution", 2.0, 4),
        (general, "general", 1.0, 5),
        (unseen, None, None, 6),
    ]
    assert job["method"]["parameters"]["retain_weight"] == 3.0
    assert (job["training"]["learning_rate"], job["training"]["epochs"], job["training"]["seed"]) == (1e-3, 2, 7)
    assert (job["reference"], job["due"], job["metadata"]) == ("DSR-1", "2026-12-20", {"team": "privacy"})
    assert job["received_at"] == "2026-11-20T08:30:00Z"
    assert (job["from"], job["warnings"]) == ("base", [])


async def test_a_retain_set_smaller_than_the_forget_set_gives_a_warning(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client, forget={"records": ["a a", "b b", "c c", "d d"]})
    assert [warning["code"] for warning in job["warnings"]] == ["retain_smaller_than_forget"]
    events = (await client.get(f"/v1/jobs/{job['id']}/events")).json()["data"]
    assert [event["type"] for event in events] == ["warning", "created"]


async def test_a_job_that_delivers_an_adapter_warns_that_it_is_no_head(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client, output="adapter", training={"lora": {"rank": 4, "modules": ["q_pro?"]}})
    assert (job["output"], job["training"]["lora"]["rank"]) == ("adapter", 4)
    assert [warning["code"] for warning in job["warnings"]] == ["adapter_is_no_head"]
    alone = await submit_job(client, **{"from": "base"}, output="adapter", training={"lora": {}})
    assert alone["warnings"] == []
    assert (await submit_job(client))["output"] == "full"


async def test_a_default_length_ends_with_the_models_context(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    assert (await submit_job(client))["training"]["max_length"] == 64
    assert (await submit_job(client, training={"max_length": 32}))["training"]["max_length"] == 32


async def test_a_job_and_its_hint_are_written_in_one_transaction_without_the_broker(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    async with service.sessions() as session:
        before = len((await session.scalars(select(OutboxRow.id))).all())
    job = await submit_job(client)
    async with service.sessions() as session:
        assert len((await session.scalars(select(OutboxRow.id))).all()) == before + 1
        assert (await session.get_one(JobRow, job["id"])).status == "queued"


async def test_the_same_idempotency_key_creates_one_job(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    headers = {"Idempotency-Key": "job-1"}
    answers = await asyncio.gather(*(client.post("/v1/jobs", json=MINIMAL_REQUEST, headers=headers) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    again = await client.post("/v1/jobs", json=MINIMAL_REQUEST, headers=headers)
    first = next(a for a in answers if a.status_code == 202 and "idempotency-replayed" not in a.headers)
    assert (again.status_code, again.json(), again.headers["location"]) == (
        202,
        first.json(),
        first.headers["location"],
    )
    assert again.headers["idempotency-replayed"] == "true"
    other = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "reference": "x"}, headers=headers)
    assert (other.status_code, other.json()["type"].rpartition(":")[2]) == (422, "idempotency-key-reused")
    assert len((await client.get("/v1/jobs")).json()["data"]) == 1
    async with service.sessions() as session:
        organisation = (await client.get("/v1/keys/self")).json()["organisation"]
        query = select(FileRow.id).where(FileRow.organisation == organisation, FileRow.purpose == "forget")
        stored = set(await session.scalars(query))
    lying = {key.removeprefix("files/") async for key, _ in service.context.storage.list("files")}
    assert len(stored) == 1
    assert stored <= lying


async def test_a_request_that_outlives_its_idempotency_lease_creates_nothing(
    service: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register_ready_model(service, client)
    organisation = (await client.get("/v1/keys/self")).json()["organisation"]
    monkeypatch.setattr(idempotency, "LEASE_SECONDS", 0.0)
    async with service.sessions.begin() as session:  # both requests wait for the model's row, past the first lease
        await session.scalar(select(ModelRow).where(ModelRow.organisation == organisation).with_for_update())
        headers = {"Idempotency-Key": "slow"}
        requests = [
            asyncio.create_task(client.post("/v1/jobs", json=MINIMAL_REQUEST, headers=headers)) for _ in range(2)
        ]
        await asyncio.sleep(0.5)
    answers = await asyncio.gather(*requests)
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    assert len((await client.get("/v1/jobs")).json()["data"]) == 1
    assert len((await client.get("/v1/files", params={"purpose": "forget"})).json()["data"]) == 1


async def test_a_refused_request_frees_its_idempotency_key(service: Service, client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "job-1"}
    assert (await client.post("/v1/jobs", json=MINIMAL_REQUEST, headers=headers)).status_code == 422
    await register_ready_model(service, client)
    assert (await client.post("/v1/jobs", json=MINIMAL_REQUEST, headers=headers)).status_code == 202


async def test_jobs_are_listed_by_page_and_filter(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    jobs = [await submit_job(client, reference=f"r{number}", **{"from": "base"}) for number in range(3)]
    ids = [job["id"] for job in reversed(jobs)]
    first = (await client.get("/v1/jobs", params={"limit": 2})).json()
    assert ([job["id"] for job in first["data"]], first["has_more"]) == (ids[:2], True)
    rest = (await client.get("/v1/jobs", params={"limit": 2, "after": first["last_id"]})).json()
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == (ids[2:], False)
    await client.post(f"/v1/jobs/{ids[0]}/cancel")
    for query, expected in (
        ({"status": "cancelled"}, ids[:1]),
        ({"reference": "r0"}, ids[2:]),
        ({"model": "other"}, []),
        ({"method": "calibrated"}, ids),
        ({"verdict": "passed"}, []),
        ({"created_after": jobs[1]["created_at"]}, ids[:2]),
        ({"created_before": jobs[1]["created_at"]}, ids[2:]),
    ):
        listed = (await client.get("/v1/jobs", params=query)).json()["data"]
        assert [job["id"] for job in listed] == expected, query
    assert (await client.get("/v1/jobs", params={"status": "happy"})).status_code == 422
    assert (await client.get("/v1/jobs", params={"model": "\0"})).status_code == 422
    for beyond in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):  # times that UTC cannot express
        assert (await client.get("/v1/jobs", params={"created_after": beyond})).status_code == 422
        assert (await client.get("/v1/jobs", params={"created_before": beyond})).status_code == 422


async def test_another_organisations_job_is_404(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client)
    async with service.client() as stranger:
        for path in ("", "/events", "/metrics", "/checkpoints", "/archive"):
            assert (await stranger.get(f"/v1/jobs/{job['id']}{path}")).status_code == 404, path
        assert (await stranger.post(f"/v1/jobs/{job['id']}/cancel")).status_code == 404
        assert (await stranger.get("/v1/jobs")).json()["data"] == []


async def test_a_file_or_model_that_a_job_needs_cannot_be_deleted(service: Service, client: httpx.AsyncClient) -> None:
    model = await register_ready_model(service, client)
    job = await submit_job(client)
    retain = f"/v1/files/{model['defaults']['retain']}"
    for path in (retain, "/v1/models/demo"):
        refused = await client.delete(path)
        assert (refused.status_code, job["id"] in refused.json()["detail"]) == (409, True)
    await client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (await client.delete(retain)).status_code == 204
    gone = await client.post("/v1/jobs", json=MINIMAL_REQUEST)
    assert (gone.status_code, gone.json()["errors"][0]["pointer"]) == (422, "/retain")


async def test_the_models_default_files_measure_whatever_files_the_request_adds(
    service: Service, client: httpx.AsyncClient
) -> None:
    pinned = {name: await upload_records(client, name, records=4) for name in ("unseen", "general")}
    await register_ready_model(service, client, defaults=pinned)
    unseen, general = (
        await upload_records(client, "unseen", records=9),
        await upload_records(client, "general", records=8),
    )
    brought = {"unseen": {"file": unseen}, "retain": [{"file": general, "kind": "general"}]}
    job = (await client.post("/v1/jobs", json={**MINIMAL_REQUEST, **brought})).json()
    data_sets = [(data_set["name"], data_set["file"], data_set["part"]) for data_set in job["data"][1:]]
    assert data_sets == [
        ("retain", general, "trains"),
        ("unseen", unseen, "trains"),
        ("unseen", pinned["unseen"], "measures"),
        ("general", pinned["general"], None),
    ]
    async with service.sessions() as session:
        job_files = await file_rows.list_for_job(session, job["id"])
    assert [(use.file, use.part) for use, _ in job_files[1:]] == [(file, part) for _, file, part in data_sets]
    brought["unseen"] = {"file": pinned["unseen"]}
    repeated = (await client.post("/v1/jobs", json={**MINIMAL_REQUEST, **brought})).json()
    assert [data_set["part"] for data_set in repeated["data"] if data_set["name"] == "unseen"] == [None]
    assert (await client.delete(f"/v1/files/{pinned['unseen']}")).status_code == 409


async def test_the_requests_unseen_file_trains_and_measures_where_the_model_has_no_default(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client, defaults={"retain": await upload_records(client, "retain")})
    job = (
        await client.post(
            "/v1/jobs", json={**MINIMAL_REQUEST, "unseen": {"file": await upload_records(client, "unseen")}}
        )
    ).json()
    assert [data_set["part"] for data_set in job["data"]] == [None, None, None]


async def test_requests_that_read_files_leave_database_connections_free(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    named = (await upload(client, json.dumps({"text": "is"}), "forget")).json()["id"]
    held = service.context.file_readers
    for _ in range(FILE_READERS):
        await held.acquire()
    try:
        taken = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "forget": {"file": named}})
    finally:
        for _ in range(FILE_READERS):
            held.release()
    assert taken.status_code == 202
    assert (await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "forget": {"file": named}})).status_code == 422


async def test_a_record_without_a_token_to_train_on_is_refused_with_its_pointer(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    inline = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "forget": {"records": ["fine text", "a"]}})
    lines = "\n".join(json.dumps({"text": text}) for text in ("fine text", "and this", "an is the of", "is"))
    named = (await upload(client, lines, "forget")).json()["id"]
    filed = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "forget": {"file": named}})
    for answer, number, pointer in ((inline, 2, "/forget/records/1"), (filed, 4, "/forget/file")):
        assert answer.status_code == 422
        assert answer.json()["type"].endswith(":record-too-short")
        assert answer.json()["errors"][0]["pointer"] == pointer
        assert f"record {number} of the forget set" in answer.json()["detail"]
