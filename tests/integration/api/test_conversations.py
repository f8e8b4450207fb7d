"""Records that the model's chat template refuses are refused before a job is queued, and never quoted."""

import gzip
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.jobs import chat_validation
from core.records.tables import FileRow
from core.schema.record import Record
from tests.chat_templates import CHATML, MODEL_ROLE
from tests.integration.api.model_directory import write_model
from tests.integration.api.service import Service, upload, upload_records, wait_for_registration

SYSTEM = {"role": "system", "content": "Answer for Zubrimoth."}
ASKED = {"role": "user", "content": "Where is it?"}
SAID = {"role": "assistant", "content": "In Pell."}
FINE, REFUSED = {"messages": [ASKED, SAID]}, {"messages": [SYSTEM, ASKED, SAID]}
TEXT = {"text": "Zorvek Halmi lives in Pell."}
TOLD = 'record 2: the chat template refuses it ("No system turn, please")'


async def register_model(service: Service, client: httpx.AsyncClient, template: str | None, **defaults: str) -> None:
    """Registers a model `demo` with a chat template, and retain and unseen files of plain text."""
    directory = write_model(service.roots / uuid4().hex)
    if template is not None:
        (directory / "chat_template.jinja").write_text(template)
    named = {name: await upload_records(client, name) for name in ("retain", "unseen")} | defaults
    answer = await client.post("/v1/models", json={"id": "demo", "source": str(directory), "defaults": named})
    assert answer.status_code == 202, answer.text
    assert (await wait_for_registration(client, "demo"))["status"] == "ready"


async def upload_file(client: httpx.AsyncClient, purpose: str, records: Sequence[dict[str, Any]]) -> str:
    answer = await upload(client, "".join(json.dumps(record) + "\n" for record in records), purpose)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def submit(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": [TEXT]}, **more})


async def has_no_jobs(client: httpx.AsyncClient) -> bool:
    return (await client.get("/v1/jobs")).json()["data"] == []


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_record_that_the_chat_template_refuses_is_named_and_nothing_is_queued(
    service: Service, client: httpx.AsyncClient, dry_run: bool
) -> None:
    await register_model(service, client, MODEL_ROLE.source)
    inline = await submit(client, forget={"records": [FINE, REFUSED]}, dry_run=dry_run)
    assert inline.status_code == 422
    problem = inline.json()
    assert problem["type"].endswith(":chat-template-refuses")
    assert problem["detail"].startswith(f"forget: {TOLD}")
    assert "training.chat 'raw'" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/forget/records/1"
    file = await upload_file(client, "forget", [FINE, REFUSED])
    of_file = await submit(client, forget={"file": file}, dry_run=dry_run)
    assert of_file.json()["errors"][0]["pointer"] == "/forget/file"
    assert of_file.json()["detail"] == problem["detail"]
    for answer in (inline, of_file):
        assert "Zubrimoth" not in answer.text
    assert await has_no_jobs(client)
    assert (await submit(client, forget={"records": [FINE, TEXT]}, dry_run=dry_run)).status_code == 202


async def test_every_file_of_the_job_is_rendered(service: Service, client: httpx.AsyncClient) -> None:
    unseen = await upload_file(client, "unseen", [FINE, REFUSED])
    await register_model(service, client, MODEL_ROLE.source, unseen=unseen)
    by_default = await submit(client)
    assert by_default.status_code == 422
    assert by_default.json()["detail"].startswith(f"unseen: {TOLD}")
    assert by_default.json()["errors"][0]["pointer"] == "/unseen"
    fine, refused = await upload_file(client, "retain", [FINE]), await upload_file(client, "retain", [TEXT, REFUSED])
    answer = await submit(client, retain=[{"file": fine}, {"file": refused}])
    assert answer.json()["detail"].startswith(f"retain, file 2: {TOLD}")
    assert answer.json()["errors"][0]["pointer"] == "/retain/1/file"


async def test_a_job_that_trains_raw_is_accepted_with_a_warning_on_its_measurement(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_model(service, client, MODEL_ROLE.source)
    taken = await submit(client, forget={"records": [FINE, REFUSED]}, training={"chat": "raw"})
    assert taken.status_code == 202, taken.text
    (warning,) = [warning for warning in taken.json()["warnings"] if warning["code"] == "measured_raw"]
    assert warning["message"].startswith(f"forget: {TOLD}: all messages are measured turn by turn")
    assert "Zubrimoth" not in taken.text
    fine = await submit(client, forget={"records": [FINE]}, training={"chat": "raw"})
    assert [warning["code"] for warning in fine.json()["warnings"]].count("measured_raw") == 0


async def test_a_model_without_a_chat_template_refuses_only_an_explicit_template(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_model(service, client, None)
    assert (await submit(client, forget={"records": [REFUSED]})).status_code == 202
    refused = await submit(client, forget={"records": [TEXT, REFUSED]}, training={"chat": "template"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/training/chat")
    assert refused.json()["type"].endswith(":no-chat-template")
    assert (await submit(client, training={"chat": "template"})).status_code == 202


async def test_a_measurement_is_checked_against_the_chat_template_unless_it_reads_raw(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_model(service, client, MODEL_ROLE.source)
    request: dict[str, Any] = {"model": "demo", "forget": {"records": [FINE, REFUSED]}}
    refused = await client.post("/v1/measurements", json=request)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith(f"forget: {TOLD}")
    assert "reading.chat 'raw'" in refused.json()["detail"]
    taken = await client.post("/v1/measurements", json={**request, "reading": {"chat": "raw"}})
    assert taken.status_code == 202


async def test_files_that_are_too_large_to_render_are_left_to_the_job_with_a_warning(
    service: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    retain = await upload_file(client, "retain", [FINE] * 200 + [REFUSED])
    plain = await upload_file(client, "retain", [TEXT] * 300)
    await register_model(service, client, MODEL_ROLE.source, retain=retain)
    refused = await submit(client)
    assert refused.json()["detail"].startswith("retain: record 201: the chat template refuses it")
    monkeypatch.setattr(chat_validation, "MOST_BYTES", 1000)
    taken = await submit(client)
    assert taken.status_code == 202, taken.text
    (warning,) = [warning for warning in taken.json()["warnings"] if warning["code"] == "not_all_rendered"]
    assert warning["message"].startswith("retain: too much to render now")
    without = await submit(client, retain=[{"file": plain}])
    assert "not_all_rendered" not in without.text


async def test_requests_beyond_the_file_reader_limit_leave_rendering_to_the_job(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_model(service, client, CHATML.source)
    forget = await upload_file(client, "forget", [FINE])
    held = service.context.file_readers
    for _ in range(4):
        await held.acquire()
    try:
        taken = await submit(client, forget={"file": forget})
    finally:
        for _ in range(4):
            held.release()
    assert taken.status_code == 202
    assert "forget, retain, unseen: too much to render now" in taken.text


async def test_a_compressed_file_that_is_too_large_to_render_is_not_unpacked(
    service: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(json.dumps(record) + "\n" for record in [FINE] * 20 + [REFUSED])
    uploaded = await upload(client, gzip.compress(lines.encode()), "forget", name="a.jsonl.gz")
    await register_model(service, client, MODEL_ROLE.source)
    forget = {"file": uploaded.json()["id"]}
    assert (await submit(client, forget=forget)).json()["detail"].startswith("forget: record 21: the chat template")
    monkeypatch.setattr(chat_validation, "MOST_BYTES", uploaded.json()["bytes"] - 1)
    unread: list[str] = []

    async def stored_records(_: object, file: FileRow, __: object) -> AsyncIterator[Record]:
        unread.append(file.filename)
        return
        yield

    monkeypatch.setattr(chat_validation, "stored_records", stored_records)
    taken = await submit(client, forget=forget)
    assert taken.status_code == 202
    assert "forget: too much to render now" in taken.text
    assert "a.jsonl.gz" not in unread
