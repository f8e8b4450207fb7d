"""The end of a job is reported to its webhook: signed, at least once, tried again for hours, and again on request."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from pydantic import SecretStr
from sqlalchemy import select, text
from structlog.testing import capture_logs

from api.webhooks.sender import LEASE_SECONDS, PAUSES
from core.records import leases
from core.records.tables import JobRow, WebhookDeliveryRow
from core.settings import Settings
from tests.integration.api.service import Service, register_ready_model, run_service
from tests.integration.api.submission import submit_job
from tests.integration.api.worker_actions import claim_job, finish_job
from tests.integration.webhooks.receiving import SECRET, Receiver, running_receiver

ERROR: dict[str, object] = {"code": "x", "message": "x", "blame": "service", "retryable": True}


async def submit(client: httpx.AsyncClient, url: str, **more: Any) -> str:
    job = await submit_job(client, webhook={"url": url, "secret": SECRET}, **{"from": "base"}, **more)
    assert job["webhook"] == {"url": url}
    return str(job["id"])


async def cancelled(client: httpx.AsyncClient, url: str) -> str:
    """Submits and cancels a job; returns its id."""
    job = await submit(client, url)
    assert (await client.post(f"/v1/jobs/{job}/cancel")).status_code == 202
    return job


async def delivery_of(client: httpx.AsyncClient, job: str) -> dict[str, Any]:
    """Returns the job's newest delivery."""
    (delivery, *_) = (await client.get("/v1/webhooks/deliveries", params={"job": job})).json()["data"]
    found: dict[str, Any] = delivery
    return found


async def attempted(client: httpx.AsyncClient, job: str, count: int = 1) -> dict[str, Any]:
    """Waits until the job's delivery has this many attempts and returns it."""
    async with asyncio.timeout(120):
        while len((delivery := await delivery_of(client, job))["attempts"]) < count:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)
    return delivery


async def make_due(service: Service, delivery: str) -> None:
    """Lets the time until the next attempt pass."""
    async with service.sessions.begin() as session:
        change = (
            "UPDATE webhook_deliveries SET next_attempt_at = clock_timestamp() WHERE id = :id AND status = 'pending'"
        )
        await session.execute(text(change), {"id": delivery})


async def test_each_end_of_a_job_is_reported_once_and_signed(
    service: Service, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await register_ready_model(service, client)
    path = f"failing/0/{uuid4().hex}"
    url = receiver.url(path)
    with capture_logs() as logs:
        stopped = await cancelled(client, url)
        failing = await submit(client, url)
        fence = await claim_job(service, failing)
        async with service.sessions.begin() as session:
            row = await leases.lock_job(session, failing, fence)
            await leases.fail_or_retry(session, row, ERROR, max_failures=1)
        done = await submit(client, url, external_reference="DSR-7")
        await finish_job(service, done, await claim_job(service, done), {"config.json": b"{}"})
        received = await receiver.wait(path, 3)
    messages = {line["message"]["data"]["id"]: line["message"] for line in received}
    assert {job: message["type"] for job, message in messages.items()} == {
        stopped: "job.cancelled",
        failing: "job.failed",
        done: "job.succeeded",
    }
    job = (await client.get(f"/v1/jobs/{done}")).json()
    assert messages[done]["data"] == {
        "id": done,
        "status": "succeeded",
        "outcome": "unlearned",
        "verdict": "passed",
        "external_reference": "DSR-7",
        "links": {
            "self": f"/v1/jobs/{done}",
            "events": f"/v1/jobs/{done}/events",
            "metrics": f"/v1/jobs/{done}/metrics",
        },
    }
    lasted = datetime.fromisoformat(messages[done]["timestamp"]) - datetime.fromisoformat(job["finished_at"])
    assert abs(lasted) < timedelta(seconds=30)
    delivery = await attempted(client, done)
    (line,) = [line for line in received if line["headers"]["webhook-id"] == delivery["id"]]
    assert line["headers"]["content-type"] == "application/json"
    assert line["headers"]["user-agent"].startswith("unlearning-service/")
    assert line["headers"]["host"] == f"127.0.0.1:{receiver.port}"
    assert (delivery["status"], delivery["type"], delivery["next_attempt_at"]) == ("delivered", "job.succeeded", None)
    assert [(attempt["http_status"], attempt["error"]) for attempt in delivery["attempts"]] == [(200, None)]
    assert delivery["delivered_at"] == delivery["attempts"][0]["at"]
    assert job["links"]["deliveries"] == f"/v1/webhooks/deliveries?job={done}"
    assert (await client.get(job["links"]["deliveries"])).json()["data"] == [delivery]
    assert (await client.get(f"/v1/webhooks/deliveries/{delivery['id']}")).json() == delivery
    await asyncio.sleep(1.5)  # longer than the sender waits between two looks
    assert len(receiver.at(path)) == 3
    assert (SECRET in str(logs), url in str(logs)) == (False, False)


async def test_a_retried_job_reports_each_of_its_ends(
    service: Service, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await register_ready_model(service, client)
    path = f"failing/0/{uuid4().hex}"
    job = await submit(client, receiver.url(path))
    fence = await claim_job(service, job)
    async with service.sessions.begin() as session:
        await leases.fail_or_retry(session, await leases.lock_job(session, job, fence), ERROR, max_failures=1)
    await client.post(f"/v1/jobs/{job}/retry")
    await client.post(f"/v1/jobs/{job}/cancel")
    received = await receiver.wait(path, 2)
    assert sorted(line["message"]["type"] for line in received) == ["job.cancelled", "job.failed"]
    assert len({line["headers"]["webhook-id"] for line in received}) == 2


async def test_the_message_commits_with_the_end_or_not_at_all(
    service: Service, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await register_ready_model(service, client)
    job = await submit(client, receiver.url("status/200"))
    fence = await claim_job(service, job)
    async with service.sessions() as session:
        await leases.fail_or_retry(session, await leases.lock_job(session, job, fence), ERROR, max_failures=1)
        query = select(WebhookDeliveryRow.type).where(WebhookDeliveryRow.job == job)
        assert await session.scalar(query) == "job.failed"
        await session.rollback()
    assert (await client.get("/v1/webhooks/deliveries")).json()["data"] == []
    quiet = await submit_job(client, **{"from": "base"})
    assert (quiet["webhook"], "deliveries" in quiet["links"]) == (None, False)
    await client.post(f"/v1/jobs/{quiet['id']}/cancel")
    assert (await client.get("/v1/webhooks/deliveries")).json()["data"] == []


async def test_a_secret_is_stored_encrypted_and_never_shown(
    service: Service, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await register_ready_model(service, client)
    job = await cancelled(client, receiver.url("status/200"))
    shown = [(await client.get(path)).text for path in (f"/v1/jobs/{job}", "/v1/jobs", "/v1/webhooks/deliveries")]
    assert all(SECRET not in answer and SECRET.removeprefix("whsec_") not in answer for answer in shown)
    async with service.sessions() as session:
        stored = (await session.get_one(JobRow, job)).webhook_secret
        everything = await session.scalar(text("SELECT jobs::text FROM jobs WHERE id = :id"), {"id": job})
    assert stored is not None
    assert SECRET.encode() not in stored
    assert SECRET.encode().hex() not in str(everything)


async def test_a_message_that_is_not_taken_is_sent_again_with_growing_pauses(
    service: Service, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await register_ready_model(service, client)
    path = f"failing/3/{uuid4().hex}"
    job = await cancelled(client, receiver.url(path))
    for number in range(1, 4):
        delivery = await attempted(client, job, number)
        assert delivery["status"] == "pending"
        made = datetime.fromisoformat(delivery["attempts"][-1]["at"])
        pause = (datetime.fromisoformat(delivery["next_attempt_at"]) - made).total_seconds()
        assert PAUSES[number - 1] <= pause <= PAUSES[number - 1] * 1.1 + 30
        await make_due(service, delivery["id"])
    delivery = await attempted(client, job, 4)
    attempts = [(attempt["http_status"], attempt["error"]) for attempt in delivery["attempts"]]
    assert (delivery["status"], attempts) == ("delivered", [(500, "status")] * 3 + [(200, None)])
    received = receiver.at(path)
    assert {line["headers"]["webhook-id"] for line in received} == {delivery["id"]}
    assert len({line["body"] for line in received}) == 1


async def test_after_the_last_pause_a_message_has_failed_until_a_person_has_it_sent_again(
    service: Service, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await register_ready_model(service, client)
    path = f"failing/{len(PAUSES) + 1}/{uuid4().hex}"
    job = await cancelled(client, receiver.url(path))
    for number in range(1, len(PAUSES) + 2):
        delivery = await attempted(client, job, number)
        await make_due(service, delivery["id"])
    assert (delivery["status"], delivery["next_attempt_at"]) == ("failed", None)
    failed = (await client.get("/v1/webhooks/deliveries", params={"status": "failed"})).json()["data"]
    assert [entry["id"] for entry in failed] == [delivery["id"]]
    answer = await client.post(f"/v1/webhooks/deliveries/{delivery['id']}/redeliver")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    delivery = await attempted(client, job, len(PAUSES) + 2)
    assert (delivery["status"], delivery["attempts"][-1]["http_status"]) == ("delivered", 200)
    assert sum(PAUSES) > 24 * 3600


async def test_a_delivered_message_is_sent_again_unchanged(
    service: Service, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await register_ready_model(service, client)
    path = f"failing/0/{uuid4().hex}"
    job = await cancelled(client, receiver.url(path))
    delivery = await attempted(client, job)
    organisation = (await client.get("/v1/keys/self")).json()["organisation"]
    reader = (await client.post("/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]})).json()
    again = f"/v1/webhooks/deliveries/{delivery['id']}/redeliver"
    assert organisation
    refused = await client.post(again, headers={"Authorization": f"Bearer {reader['key']}"})
    assert refused.status_code == 403
    async with service.client() as stranger:
        assert (await stranger.post(again)).status_code == 404
        assert (await stranger.get(again.removesuffix("/redeliver"))).status_code == 404
        assert (await stranger.get("/v1/webhooks/deliveries")).json()["data"] == []
    assert (await client.post(again)).status_code == 202
    first, second = await receiver.wait(path, 2)
    assert (second["headers"]["webhook-id"], second["body"]) == (first["headers"]["webhook-id"], first["body"])
    later = await attempted(client, job, 2)
    assert (later["status"], later["delivered_at"]) == ("delivered", delivery["delivered_at"])


async def test_a_receiver_that_is_gone_gets_no_further_attempt(
    service: Service, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await register_ready_model(service, client)
    delivery = await attempted(client, await cancelled(client, receiver.url("status/410")))
    assert (delivery["status"], delivery["next_attempt_at"]) == ("failed", None)
    assert [(attempt["http_status"], attempt["error"]) for attempt in delivery["attempts"]] == [(410, "gone")]


async def test_the_reference_library_rejects_a_message_that_another_secret_signed(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    with running_receiver("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA") as other:
        delivery = await attempted(client, await cancelled(client, other.url("status/200")))
        assert [line["error"] for line in other.at("status/200")] == ["No matching signature found"]
    assert (delivery["status"], delivery["attempts"][0]["http_status"]) == ("pending", 401)


async def test_a_sender_that_dies_in_the_middle_is_made_up_for(
    service: Service, client: httpx.AsyncClient, receiver: Receiver, clean_database_url: str
) -> None:
    """The process that had taken the message stops while the receiver is slow: nothing is recorded, nothing is lost."""
    settings = on_database(service, clean_database_url)
    async with run_service(settings) as dying, dying.client(organisation="made-up-for") as own:
        await register_ready_model(dying, own)
        slow = f"slow/{uuid4().hex}"
        job = await cancelled(own, receiver.url(slow))
        await receiver.wait(slow)
        taken = await delivery_of(own, job)
    assert (taken["status"], taken["attempts"]) == ("pending", [])
    left = (datetime.fromisoformat(taken["next_attempt_at"]) - datetime.now(UTC)).total_seconds()
    assert 0 < left <= LEASE_SECONDS
    path = f"failing/0/{uuid4().hex}"
    async with run_service(settings) as later, later.client(organisation="made-up-for") as own:
        async with later.sessions.begin() as session:
            change = text("UPDATE webhook_deliveries SET url = :url WHERE id = :id")
            await session.execute(change, {"url": receiver.url(path), "id": taken["id"]})
        await make_due(later, taken["id"])
        (received,) = await receiver.wait(path)
        assert received["headers"]["webhook-id"] == taken["id"]
        assert (await attempted(own, job))["status"] == "delivered"


async def test_two_processes_send_each_message_once(
    service: Service, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await register_ready_model(service, client)
    path = f"failing/0/{uuid4().hex}"
    async with run_service(service.settings):
        jobs = [await submit(client, receiver.url(path)) for _ in range(12)]
        await asyncio.gather(*(client.post(f"/v1/jobs/{job}/cancel") for job in jobs))
        await receiver.wait(path, len(jobs))
        for job in jobs:
            await attempted(client, job)
    received = receiver.at(path)
    assert sorted(json.loads(line["body"])["data"]["id"] for line in received) == sorted(jobs)


async def test_deliveries_come_in_pages_newest_first(
    service: Service, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await register_ready_model(service, client)
    jobs = [await cancelled(client, receiver.url("status/200")) for _ in range(3)]
    first = (await client.get("/v1/webhooks/deliveries", params={"limit": 2})).json()
    second = (await client.get("/v1/webhooks/deliveries", params={"limit": 2, "after": first["last_id"]})).json()
    assert [entry["job"] for entry in (*first["data"], *second["data"])] == jobs[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert (await client.get("/v1/webhooks/deliveries", params={"status": "lost"})).status_code == 422


async def test_the_messages_that_wait_are_counted_for_prometheus(
    service: Service, receiver: Receiver, clean_database_url: str
) -> None:
    settings = on_database(service, clean_database_url)
    async with run_service(settings) as counted, counted.client() as client:
        await register_ready_model(counted, client)
        for expected in (1, 2):
            await attempted(client, await cancelled(client, receiver.url("status/500")))
            assert f"unlearning_webhooks_pending {expected}.0" in (await client.get("/metrics")).text


def on_database(service: Service, url: str) -> Settings:
    """Returns the service's settings for another database."""
    return service.settings.model_copy(update={"database_url": SecretStr(url)})


async def test_a_message_that_cannot_be_sent_at_all_holds_up_no_other(
    service: Service, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    await register_ready_model(service, client)
    broken = await submit(client, receiver.url("never"))
    async with service.sessions.begin() as session:  # no request can bring such an address in
        await session.execute(text("UPDATE jobs SET webhook_url = 'http://a:port/' WHERE id = :job"), {"job": broken})
    await client.post(f"/v1/jobs/{broken}/cancel")
    sent = await cancelled(client, receiver.url(f"failing/0/{uuid4().hex}"))
    assert (await attempted(client, sent))["status"] == "delivered"
    assert [attempt["error"] for attempt in (await attempted(client, broken))["attempts"]] == ["fault"]
