"""Deadlines: when a request came in, when its job is due, extensions, and the jobs that are late or soon will be."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from core.records import leases
from core.records.tables import AuditRow
from core.schema.deadlines import add_months
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.submission import MINIMAL_REQUEST, submit_job
from tests.integration.api.worker_actions import claim_job

REASON = {"reason": "Forty requests on this model came in at once."}


def today() -> date:
    return datetime.now(UTC).date()


def kind_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


async def received(client: httpx.AsyncClient, days_ago: int, **more: Any) -> dict[str, Any]:
    """Submits a job whose request came in so many days ago."""
    return await submit_job(client, received_at=(datetime.now(UTC) - timedelta(days=days_ago)).isoformat(), **more)


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get("/v1/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["data"]]


async def test_a_job_is_due_one_month_after_its_request_came_in(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client)
    receipt = datetime.fromisoformat(job["received_at"])
    assert abs(datetime.fromisoformat(job["created_at"]) - receipt) < timedelta(seconds=30)
    assert (job["due"], job["extensions"]) == (add_months(receipt.date(), 1).isoformat(), [])
    earlier = await submit_job(client, received_at="2026-01-31T23:30:00-01:00")
    assert (earlier["received_at"], earlier["due"]) == ("2026-02-01T00:30:00Z", "2026-03-01")
    assert (await submit_job(client, received_at="2026-01-31T12:00:00Z"))["due"] == "2026-02-28"
    assert (await submit_job(client, due=today().isoformat()))["due"] == today().isoformat()
    assert (await submit_job(client, dry_run=True))["due"] is None
    assert (await submit_job(client, dry_run=True, due="2999-01-01"))["due"] == "2999-01-01"


@pytest.mark.parametrize(
    ("fields", "problem", "pointer"),
    [
        ({"received_at": "2999-01-01T00:00:00Z"}, "received-in-the-future", "/received_at"),
        ({"received_at": "2026-01-31T12:00:00Z", "due": "2026-01-30"}, "due-before-receipt", "/due"),
        ({"due": "2026-01-30"}, "due-before-receipt", "/due"),
        ({"received_at": "2026-01-31T12:00:00"}, "invalid-request", "/received_at"),
        ({"due": "soon"}, "invalid-request", "/due"),
    ],
)
async def test_an_impossible_deadline_is_refused(
    service: Service, client: httpx.AsyncClient, fields: dict[str, str], problem: str, pointer: str
) -> None:
    await register_ready_model(service, client)
    refused = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, **fields})
    assert (*kind_of(refused), refused.json()["errors"][0]["pointer"]) == (422, problem, pointer)
    assert await listed(client) == []


async def test_an_extension_is_kept_with_who_when_and_why(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client)
    path, first = f"/v1/jobs/{job['id']}", date.fromisoformat(job["due"])
    halfway = (first + timedelta(days=10)).isoformat()
    answer = await client.post(f"{path}/extend", json={**REASON, "due": halfway})
    assert answer.status_code == 200, answer.text
    assert job["links"]["extend"] == f"{path}/extend"
    last = add_months(first, 2).isoformat()
    extended = (await client.post(f"{path}/extend", json={"reason": "The model is in use."})).json()
    assert extended == (await client.get(path)).json() | {"waiting_for": None}
    key = (await client.get("/v1/keys/self")).json()
    assert extended["due"] == last
    assert [{name: entry[name] for name in entry if name != "extended_at"} for entry in extended["extensions"]] == [
        {"previous_due": job["due"], "due": halfway, "extended_by": key["id"], **REASON},
        {"previous_due": halfway, "due": last, "reason": "The model is in use.", "extended_by": key["id"]},
    ]
    at = datetime.fromisoformat(extended["extensions"][0]["extended_at"])
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
    events = (await client.get(f"{path}/events")).json()["data"]
    assert [event["data"] for event in events if event["type"] == "extended"] == [
        {"previous_due": halfway, "due": last},
        {"previous_due": job["due"], "due": halfway},
    ]
    async with service.sessions() as session:
        entries = await session.scalars(
            select(AuditRow)
            .where(AuditRow.object == job["id"], AuditRow.action == "job.extended")
            .order_by(AuditRow.seq)
        )
    assert [(entry.key, entry.details["reason"]) for entry in entries] == [
        (key["id"], REASON["reason"]),
        (key["id"], "The model is in use."),
    ]


async def test_extensions_add_two_months_at_most_and_never_shorten(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client)
    path, first = f"/v1/jobs/{job['id']}/extend", date.fromisoformat(job["due"])
    last = add_months(first, 2)
    for due in (first, first - timedelta(days=1), last + timedelta(days=1)):
        refused = await client.post(path, json={**REASON, "due": due.isoformat()})
        assert kind_of(refused) == (422, "invalid-extension")
        assert refused.json()["errors"][0]["pointer"] == "/due"
        assert last.isoformat() in refused.json()["detail"]
    for body in ({}, {"reason": "  "}, {"reason": "x" * 2001}):
        assert kind_of(await client.post(path, json=body)) == (422, "invalid-request")
    assert (await client.post(path, json={**REASON, "due": last.isoformat()})).status_code == 200
    assert kind_of(await client.post(path, json=REASON)) == (422, "invalid-extension")
    assert len((await client.get(f"/v1/jobs/{job['id']}")).json()["extensions"]) == 1


async def test_a_deadline_that_has_passed_or_no_longer_counts_cannot_be_extended(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    late = await received(client, days_ago=40)
    assert kind_of(await client.post(f"/v1/jobs/{late['id']}/extend", json=REASON)) == (409, "deadline-passed")
    lasts_today = await submit_job(client, due=today().isoformat())
    assert (await client.post(f"/v1/jobs/{lasts_today['id']}/extend", json=REASON)).status_code == 200
    dry = await submit_job(client, dry_run=True)
    assert kind_of(await client.post(f"/v1/jobs/{dry['id']}/extend", json=REASON)) == (409, "wrong-state")
    cancelled = await submit_job(client)
    await client.post(f"/v1/jobs/{cancelled['id']}/cancel")
    assert kind_of(await client.post(f"/v1/jobs/{cancelled['id']}/extend", json=REASON)) == (409, "wrong-state")
    assert kind_of(await client.post("/v1/jobs/job-none/extend", json=REASON)) == (404, "not-found")


async def test_only_those_who_may_submit_jobs_of_the_organisation_extend_them(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client)
    organisation = (await client.get("/v1/keys/self")).json()["organisation"]
    reader = (await client.post("/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]})).json()
    assert reader["organisation"] == organisation
    headers = {"Authorization": f"Bearer {reader['key']}"}
    path = f"/v1/jobs/{job['id']}/extend"
    assert (await client.post(path, json=REASON, headers=headers)).status_code == 403
    async with service.client() as stranger:
        assert (await stranger.post(path, json=REASON)).status_code == 404


async def test_lists_by_deadline_begin_with_the_soonest_due(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    soon = await received(client, days_ago=20)
    late = await received(client, days_ago=40)
    later = await received(client, days_ago=50)
    long_after = await submit_job(client)
    cancelled = await received(client, days_ago=45)
    await client.post(f"/v1/jobs/{cancelled['id']}/cancel")
    await submit_job(client, dry_run=True)
    assert await listed(client, overdue=True) == [later["id"], late["id"]]
    assert await listed(client, overdue=True, status="cancelled") == []
    by_due = [later["id"], cancelled["id"], late["id"], soon["id"]]
    assert await listed(client, due_before=long_after["due"]) == by_due
    assert await listed(client, due_before=late["due"], status="queued") == [later["id"]]
    assert await listed(client, overdue=True, due_before=late["due"]) == [later["id"]]
    pages, after = [], None
    while True:
        query = {"due_before": long_after["due"], "limit": 1} | ({"after": after} if after else {})
        page = (await client.get("/v1/jobs", params=query)).json()
        pages += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert pages == by_due
    assert await listed(client, overdue=True, after=later["id"]) == [late["id"]]
    assert await listed(client, overdue=True, after="job-none") == []
    assert (await client.get("/v1/jobs", params={"due_before": "soon"})).status_code == 422


async def test_a_failed_job_is_overdue_and_one_that_succeeded_is_not(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    job = (await received(client, days_ago=40))["id"]
    await claim_job(service, job)
    for status, expected in (("failed", [job]), ("queued", [job])):
        await _set_status(service, job, status)
        assert await listed(client, overdue=True) == expected
    await claim_job(service, job)
    await _set_status(service, job, "succeeded")
    assert await listed(client, overdue=True) == []


async def test_a_failed_job_is_overdue_until_somebody_cancels_it(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    before = await overdue_gauge(client)
    job = (await received(client, days_ago=40))["id"]
    fence = await claim_job(service, job)
    error = {"code": "loss_not_finite", "message": "x", "blame": "user", "retryable": False}
    async with service.sessions.begin() as session:
        row = await leases.lock_job(session, job, fence)
        await leases.fail_or_retry(session, row, error, max_failures=3)
    assert await listed(client, overdue=True) == [job]
    assert await overdue_gauge(client) == before + 1
    cancelled = (await client.post(f"/v1/jobs/{job}/cancel")).json()
    assert (cancelled["status"], cancelled["error"]) == ("cancelled", None)
    assert await listed(client, overdue=True) == []
    assert await overdue_gauge(client) == before
    assert kind_of(await client.post(f"/v1/jobs/{job}/cancel")) == (409, "wrong-state")
    assert kind_of(await client.post(f"/v1/jobs/{job}/retry")) == (409, "wrong-state")


async def overdue_gauge(client: httpx.AsyncClient) -> float:
    """Returns the number of failed jobs that are overdue, as the metrics show it."""
    (line,) = [
        line
        for line in (await client.get("/metrics")).text.splitlines()
        if line.startswith('unlearning_jobs_overdue{status="failed"}')
    ]
    return float(line.rpartition(" ")[2])


async def _set_status(service: Service, job: str, status: str) -> None:
    async with service.sessions.begin() as session:
        change = text("UPDATE jobs SET status = :status, lease_expires_at = NULL WHERE id = :job")
        await session.execute(change, {"job": job, "status": status})


async def test_prometheus_counts_jobs_at_risk_and_overdue(service: Service, client: httpx.AsyncClient) -> None:
    async def gauges() -> dict[str, float]:
        lines = (await client.get("/metrics")).text.splitlines()
        named = [line.rpartition(" ") for line in lines if line.startswith("unlearning_jobs_")]
        return {name: float(value) for name, _, value in named}

    await register_ready_model(service, client)
    before = await gauges()
    await received(client, days_ago=40)
    await submit_job(client, due=today().isoformat())
    await submit_job(client, due=(today() + timedelta(days=7)).isoformat())
    await submit_job(client, due=(today() + timedelta(days=8)).isoformat())
    after = await gauges()
    assert {name: after[name] - before[name] for name in after} == {
        **dict.fromkeys(after, 0.0),
        'unlearning_jobs_at_risk{status="queued"}': 2.0,
        'unlearning_jobs_overdue{status="queued"}': 1.0,
    }
    assert {name.rpartition("{")[2] for name in after} == {
        f'status="{status}"}}' for status in ("queued", "running", "paused", "failed")
    }
