"""`unlearn webhooks` and `unlearn keys` against the running API."""

import asyncio
import json

import httpx

from tests.integration.api.cli.command import Run, document, output_lines
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.submission import give_webhook


async def test_a_message_is_listed_shown_with_its_attempts_and_sent_again(
    service: Service, client: httpx.AsyncClient, unlearn: Run
) -> None:
    await register_ready_model(service, client)
    url = "https://receiver.invalid/hook"
    job = (await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})).json()["id"]
    await give_webhook(service, job, url)
    await client.post(f"/v1/jobs/{job}/cancel")
    listed = document(await unlearn("webhooks", "list", "--job", job, "--json"))
    (delivery,) = listed["data"]
    head, row = output_lines(await unlearn("webhooks", "list"))
    assert head.split()[:2] == ["delivery", "status"]
    assert (row.split()[0], *row.split()[2:4]) == (delivery["id"], job, "job.cancelled")
    shown = await unlearn("webhooks", "show", delivery["id"])
    assert (shown.exit_code, url in shown.stdout) == (0, True)
    async with asyncio.timeout(60):
        while "cannot be decrypted" not in (await unlearn("webhooks", "show", delivery["id"])).stdout:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    again = await unlearn("webhooks", "redeliver", delivery["id"])
    assert output_lines(again) == [f"{delivery['id']} is sent again"]
    refused = await unlearn("webhooks", "redeliver", "delivery-0", "--json")
    assert (refused.exit_code, json.loads(refused.stderr)["error"]["status"]) == (1, 404)


async def test_keys_are_listed_shown_and_revoked_from_anywhere(client: httpx.AsyncClient, unlearn: Run) -> None:
    made = (await client.post("/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]})).json()
    own = await unlearn("keys", "show", key=made["key"])
    assert made["id"] in own.stdout
    assert "jobs:read" in own.stdout
    _, newest, _ = output_lines(await unlearn("keys", "list"))
    assert newest.split()[:4] == [made["id"], "reader", made["prefix"], "jobs:read"]
    revoked = await unlearn("keys", "revoke", made["id"])
    assert output_lines(revoked) == [f"{made['id']} (reader) is revoked"]
    assert document(await unlearn("keys", "show", made["id"], "--json"))["revoked_at"] is not None
    refused = await unlearn("keys", "show", key=made["key"])
    assert refused.exit_code != 0
