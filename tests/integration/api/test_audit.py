"""The audit log: an entry for every change, filters, and an export that is checked without the service."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from api.cli.app import app
from core.records import files, leases
from core.schema.audit import AuditEntry, entry_hash
from core.schema.default_policy import DEFAULT_POLICY
from tests.integration.api.service import Service, register_ready_model, upload, upload_records
from tests.integration.api.worker_actions import claim_job, finish_job

TEXT = "Zorvek Halmi lives at 12 Pell Lane"


async def entries(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    """Returns the entries that the query asks for, oldest first."""
    answer = await client.get("/v1/audit", params={"limit": 100, **query})
    assert answer.status_code == 200, answer.text
    return list(reversed(answer.json()["data"]))


async def second_key(client: httpx.AsyncClient, *scopes: str) -> tuple[str, dict[str, str]]:
    """Creates a key in the client's organisation; returns its id and the headers with it."""
    created = (await client.post("/v1/keys", json={"name": "second", "scopes": scopes})).json()
    return created["id"], {"Authorization": f"Bearer {created['key']}"}


async def submit(client: httpx.AsyncClient, **more: Any) -> str:
    answer = await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": [TEXT]}, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def test_every_change_of_a_job_is_on_the_log_with_the_key_that_made_it(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    own = (await client.get("/v1/keys/self")).json()["id"]
    job = await submit(client)
    for action in ("pause", "resume"):
        assert (await client.post(f"/v1/jobs/{job}/{action}")).status_code == 202
    fence = await claim_job(service, job)
    for action in ("pause", "resume"):
        assert (await client.post(f"/v1/jobs/{job}/{action}")).status_code == 202
    error = {"code": "out_of_memory", "message": "x", "blame": "user", "retryable": False}
    async with service.sessions.begin() as session:
        row = await leases.lock_job(session, job, fence)
        await leases.fail_or_retry(session, row, error, max_failures=3)
    assert (await client.post(f"/v1/jobs/{job}/retry")).status_code == 202
    fence = await claim_job(service, job)
    assert (await client.post(f"/v1/jobs/{job}/cancel")).status_code == 202
    async with service.sessions.begin() as session:
        await leases.confirm_cancel(session, job, fence)
    log = await entries(client, object=job)
    assert [(entry["action"], entry["key"]) for entry in log] == [
        ("job.created", own),
        ("job.paused", own),
        ("job.requeued", own),
        ("job.started", None),
        ("job.pause_requested", own),
        ("job.pause_withdrawn", own),
        ("job.failed", None),
        ("job.requeued", own),
        ("job.started", None),
        ("job.cancel_requested", own),
        ("job.cancelled", None),
    ]
    assert log[6]["details"] == {"status": "failed", "attempt": 1, "error": "out_of_memory"}
    assert [entry["details"].get("reason") for entry in log if entry["action"] == "job.requeued"] == [
        "resumed",
        "retried",
    ]


async def test_checkpoints_keys_models_policies_files_and_sign_ins_are_on_the_log(
    service: Service, client: httpx.AsyncClient
) -> None:
    model = await register_ready_model(service, client)
    job = await submit(client)
    checkpoint = await finish_job(service, job, await claim_job(service, job), {"a.bin": b"abc"}, verdict="failed")
    releaser, headers = await second_key(client, "release:write", "jobs:read")
    path = f"/v1/checkpoints/{checkpoint}"
    await client.post(f"{path}/release", json={"reason": "read by hand"}, headers=headers)
    await client.get(f"{path}/files/a.bin", headers=headers)
    await client.head(f"{path}/files/a.bin", headers=headers)
    await client.get(f"{path}/files/a.bin", headers={**headers, "Range": "bytes=1-"})
    assert (await client.get(f"{path}/files/a.bin", headers={**headers, "Range": "bytes=9-"})).status_code == 416
    await client.get(f"/v1/jobs/{job}/archive", headers=headers)
    assert (await client.post("/v1/keys/self/sign-in", headers=headers)).json()["id"] == releaser
    await client.delete(f"/v1/keys/{releaser}")
    bounds = [bound.model_dump(mode="json") for bound in DEFAULT_POLICY.bounds]
    assert (await client.post("/v1/policies", json={"name": "house", "bounds": bounds})).status_code == 201
    await client.delete("/v1/policies/house")
    file = (await upload(client, json.dumps({"text": TEXT}), name="Zorvek Halmi.jsonl")).json()["id"]
    await client.get(f"/v1/files/{file}/content")
    await client.delete(f"/v1/files/{file}")
    await client.delete("/v1/models/demo")
    own = (await client.get("/v1/keys/self")).json()["id"]
    log = [entry for entry in await entries(client) if not entry["action"].startswith("job.")]
    about = {name: [e for e in log if e["object"] == name] for name in (checkpoint, releaser, "demo", "house", file)}
    assert [(e["action"], e["key"]) for e in about[checkpoint]] == [
        ("checkpoint.made", None),
        ("checkpoint.released", releaser),
        ("checkpoint.downloaded", releaser),
        ("checkpoint.downloaded", releaser),
        ("checkpoint.downloaded", releaser),
    ]
    assert [e["details"] for e in about[checkpoint][2:]] == [
        {"path": "a.bin", "part": False},
        {"path": "a.bin", "part": True},
        {"format": "tar"},
    ]
    assert about[checkpoint][1]["details"]["reason"] == "read by hand"
    assert [(e["action"], e["key"]) for e in about[releaser]] == [
        ("key.created", own),
        ("key.signed_in", releaser),
        ("key.revoked", own),
    ]
    assert [(e["action"], e["key"]) for e in about["demo"]] == [
        ("model.registered", own),
        ("model.ready", None),
        ("model.deleted", own),
    ]
    assert about["demo"][1]["details"]["digest"] == model["digest"]
    assert [(e["action"], e["key"]) for e in about["house"]] == [("policy.added", own), ("policy.deleted", own)]
    assert [(e["action"], e["key"]) for e in about[file]] == [
        ("file.uploaded", own),
        ("file.downloaded", own),
        ("file.deleted", own),
    ]
    export = (await client.get("/v1/audit/export")).text
    assert "Zorvek" not in export, "neither a record's text nor a file's name"


async def test_a_purge_of_expired_files_is_on_the_log(service: Service, client: httpx.AsyncClient) -> None:
    kept, expired = [await upload_records(client, "forget") for _ in range(2)]
    async with service.sessions.begin() as session:
        row = await files.get(session, (await client.get("/v1/keys/self")).json()["organisation"], expired)
        assert row is not None
        row.expires_at = row.created_at
    async with service.sessions.begin() as session:
        await files.purge_expired(session, blind=service.context.file_keys.blind)
    purged = await entries(client, action="file.purged")
    assert [(entry["object"], entry["key"], entry["details"]["records"]) for entry in purged] == [(expired, None, 3)]
    assert (await client.get(f"/v1/files/{kept}")).status_code == 200


async def test_the_log_is_filtered_by_key_action_object_and_time_and_comes_in_pages(
    client: httpx.AsyncClient,
) -> None:
    made = [await upload_records(client, "forget") for _ in range(5)]
    key, headers = await second_key(client, "files:write")
    await client.delete(f"/v1/files/{made[0]}", headers=headers)
    assert [entry["action"] for entry in await entries(client, key=key)] == ["file.deleted"]
    assert [entry["action"] for entry in await entries(client, object=made[0])] == ["file.uploaded", "file.deleted"]
    uploads = await entries(client, action="file.uploaded")
    assert [entry["object"] for entry in uploads] == made
    later = await entries(client, created_after=uploads[2]["at"], created_before=uploads[4]["at"])
    assert [entry["object"] for entry in later] == made[2:4]
    first = (await client.get("/v1/audit", params={"action": "file.uploaded", "limit": 3})).json()
    assert (first["has_more"], first["last_id"]) == (True, str(uploads[2]["seq"]))
    second = (await client.get("/v1/audit", params={"action": "file.uploaded", "after": first["last_id"]})).json()
    assert [entry["object"] for entry in second["data"]] == [made[1], made[0]]
    newest = (await entries(client))[-1]
    assert first["head"] == {name: newest[name] for name in ("organisation", "seq", "hash")}
    assert (await client.get("/v1/audit", params={"after": "x"})).status_code == 422


async def test_the_log_needs_its_scope_and_shows_one_organisation(service: Service, client: httpx.AsyncClient) -> None:
    await upload_records(client, "forget")
    _, headers = await second_key(client, "jobs:write", "jobs:read", "files:write", "models:write", "release:write")
    for path in ("/v1/audit", "/v1/audit/export"):
        refused = await client.get(path, headers=headers)
        assert (refused.status_code, "evidence:read" in refused.json()["detail"]) == (403, True)
    async with service.client("evidence:read") as stranger:
        page = (await stranger.get("/v1/audit")).json()
        own = (await client.get("/v1/keys/self")).json()["organisation"]
        assert {entry["organisation"] for entry in page["data"]} == {page["head"]["organisation"]} != {own}


def verify(file: Path, lines: list[str]) -> tuple[int, str]:
    """Runs `unlearn verify` on the lines; returns exit code and output."""
    file.write_text("".join(line + "\n" for line in lines))
    done = CliRunner().invoke(app, ["verify", str(file)])
    return done.exit_code, done.output


async def test_the_export_is_checked_without_the_service_and_each_fault_is_named(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    for _ in range(4):
        await upload_records(client, "forget")
    answer = await client.get("/v1/audit/export")
    assert answer.headers["content-type"].startswith("application/jsonl")
    lines = answer.text.splitlines()
    head = (await client.get("/v1/audit")).json()["head"]
    file = tmp_path / "audit.jsonl"
    code, output = verify(file, lines)
    assert (code, "FAILED" in output, head["hash"] in output) == (0, False, True), output

    changed = lines.copy()
    changed[2] = changed[2].replace('"records":3', '"records":4')
    assert changed != lines
    code, output = verify(file, changed)
    assert code == 1
    assert "line 3, entry 3 (file.uploaded of file-" in output
    assert output.count("FAILED") == 1

    rehashed = json.loads(changed[2])
    rehashed["entry"]["hash"] = entry_hash(AuditEntry.model_validate(rehashed["entry"]))
    code, output = verify(file, [*lines[:2], json.dumps(rehashed), *lines[3:]])
    assert (code, "line 4, entry 4" in output, "hash of entry 3" in output) == (1, True, True)

    code, output = verify(file, [*lines[:2], *lines[3:]])
    assert (code, "line 3, entry 4" in output, "it follows entry 2" in output) == (1, True, True)

    code, output = verify(file, [*lines[:3], "{}", *lines[3:]])
    assert (code, "line 4: it is not an entry" in output) == (1, True)

    rest = (await client.get("/v1/audit/export", params={"after": 2})).text.splitlines()
    assert rest == lines[2:]
    code, output = verify(file, rest)
    assert (code, "not checked  the entries 1 to 2" in output) == (0, True)

    code, output = verify(file, lines[:-1])
    assert (code, head["hash"] in output) == (0, False), "a shorter log is whole in itself: the head tells"


async def test_a_log_of_more_entries_than_one_batch_is_exported_whole(
    service: Service, client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.audit.BATCH", 3)
    for _ in range(7):
        await client.post("/v1/keys/self/sign-in")
    lines = (await client.get("/v1/audit/export")).text.splitlines()
    actions = Counter(json.loads(line)["entry"]["action"] for line in lines)
    assert actions == {"key.created": 1, "key.signed_in": 7}
    assert verify(tmp_path / "audit.jsonl", lines)[0] == 0
