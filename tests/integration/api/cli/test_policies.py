"""`unlearn policies`, `release`, `submit` and `files` against the running API."""

import json
from pathlib import Path
from typing import Any

import httpx

from core.schema.default_policy import DEFAULT_POLICY
from tests.integration.api.cli.command import Run, document, output_lines
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.worker_actions import claim_job, finish_job

HOUSE: dict[str, Any] = {
    "name": "house",
    "description": "what the [board] has decided on",
    "bounds": [
        {"name": "text", "set": "forget", "figure": "extraction_strength", "variant": "int4", "high": 0.25},
        {
            "name": "kept",
            "set": "retain",
            "figure": "perplexity",
            "against": "before",
            "by": "ratio",
            "low": 0.5,
            "high": 1.05,
            "judged_from": 20,
        },
    ],
}


async def test_a_policy_is_added_shown_listed_and_deleted(unlearn: Run, tmp_path: Path) -> None:
    file = tmp_path / "house.json"
    file.write_text(json.dumps(HOUSE))
    added = await unlearn("policies", "add", str(file))
    assert (added.exit_code, output_lines(added)) == (0, ["house"]), added.output
    names = [policy["name"] for policy in document(await unlearn("policies", "list", "--json"))["data"]]
    assert names == ["default", "house"]
    listed = [line.split() for line in output_lines(await unlearn("policies", "list"))]
    assert listed[0][:3] == ["policy", "bounds", "made"]
    assert listed[1][:4] == ["default", str(len(DEFAULT_POLICY.bounds)), "built", "in"]
    assert (listed[-1][:2], listed[-1][3:]) == (["house", "2"], HOUSE["description"].split())
    title, _, *rows, requirement = output_lines(await unlearn("policies", "show", "house"))
    assert title == "what the [board] has decided on"
    assert requirement == "must be passed: extraction from 1 record on, membership from 20 records on"
    cells = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows]
    assert cells == [
        ["text", "extraction strength of forget, int4 copy", "at most 0.25", "1 record"],
        ["kept", "perplexity of retain", "ratio to before", "0.5 to 1.05", "20 records"],
    ]
    again = json.loads("".join(output_lines(await unlearn("policies", "show", "house", "--json"))))
    assert (again["name"], len(again["bounds"])) == ("house", 2)
    file.write_text(json.dumps(again | {"name": "house.2"}))
    assert (await unlearn("policies", "add", str(file))).exit_code == 0
    assert (await unlearn("policies", "delete", "house.2")).exit_code == 0
    refused = await unlearn("policies", "delete", "default")
    assert refused.exit_code == 1
    assert "comes with the service" in refused.stderr
    file.write_text("{")
    assert (await unlearn("policies", "add", str(file))).exit_code == 2


async def test_only_a_second_key_releases_a_checkpoint(
    service: Service, client: httpx.AsyncClient, unlearn: Run
) -> None:
    await register_ready_model(service, client)
    id = (await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})).json()["id"]
    checkpoint = await finish_job(service, id, await claim_job(service, id), {"a": b"b"}, verdict="not_judged")
    refused = await unlearn("release", checkpoint, "--reason", "mine")
    assert refused.exit_code == 1
    assert "a second person" in refused.stderr
    body = {"name": "second", "scopes": ["release:write", "jobs:read"]}
    second = (await client.post("/v1/keys", json=body)).json()["key"]
    done = await unlearn("release", checkpoint, "--reason", "read by hand", key=second)
    assert (done.exit_code, output_lines(done)) == (0, [f"{checkpoint} is released and the head of demo"]), done.output
    again = await unlearn("release", checkpoint, "--reason", "again", "--json", key=second)
    assert (again.exit_code, json.loads(again.stderr)["error"]["status"]) == (1, 409)
    assert (await unlearn("release", checkpoint)).exit_code == 2


async def test_a_refused_submission_leaves_no_file_behind(
    unlearn: Run, service: Service, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    file = tmp_path / "forget.txt"
    file.write_text("What must go.")
    unknown = await unlearn("submit", "nomodel", "--forget", str(file))
    assert unknown.exit_code == 1
    await register_ready_model(service, client, defaults={})
    refused = await unlearn("submit", "demo", "--forget", str(file), "--method", "lobotomy")
    assert refused.exit_code == 1
    assert (await client.get("/v1/files")).json()["data"] == []


async def test_files_are_listed_without_their_text_and_deleted(unlearn: Run, client: httpx.AsyncClient) -> None:
    uploaded = await client.post("/v1/files", data={"purpose": "forget"}, files={"file": ("a.txt", "Zorvek was here")})
    listed = await unlearn("files", "list", "--purpose", "forget")
    assert listed.exit_code == 0
    assert uploaded.json()["id"] in listed.stdout
    assert "Zorvek" not in listed.stdout
    deleted = await unlearn("files", "delete", uploaded.json()["id"])
    assert output_lines(deleted) == [f"{uploaded.json()['id']} is deleted"]
    assert (await client.get("/v1/files")).json()["data"] == []
