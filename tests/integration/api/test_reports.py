"""Reports of jobs in every state, and who may read them."""

from typing import Any

import httpx
import pytest

from core.records import completion, job_status, leases
from core.schema.report import Report
from tests.integration.api.service import Service, register_ready_model, upload_records
from tests.integration.api.submission import submit_job
from tests.integration.api.test_releases import REASON, UnreleasedCheckpoint, key_headers, problem_name, unreleased
from tests.integration.api.worker_actions import claim_job, finish_job, record_measurements

__all__ = ["unreleased"]


async def report_of(client: httpx.AsyncClient, job: str) -> Report:
    answer = await client.get(f"/v1/jobs/{job}/report")
    assert answer.status_code == 200, answer.text
    return Report.model_validate_json(answer.content)


async def test_a_job_that_has_not_ended_has_no_report(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client)
    assert "report" not in job["links"]
    queued = await client.get(f"/v1/jobs/{job['id']}/report")
    assert problem_name(queued) == (409, "not-ended")
    assert "queued" in queued.json()["detail"]
    await claim_job(service, job["id"])
    assert problem_name(await client.get(f"/v1/jobs/{job['id']}/report")) == (409, "not-ended")


async def test_unknown_jobs_and_those_of_other_organisations_have_no_report(
    service: Service, client: httpx.AsyncClient, unreleased: UnreleasedCheckpoint
) -> None:
    assert problem_name(await client.get("/v1/jobs/job-0/report")) == (404, "not-found")
    async with service.client() as stranger:
        assert problem_name(await stranger.get(f"/v1/jobs/{unreleased.job}/report")) == (404, "not-found")


@pytest.mark.parametrize(("scope", "status"), [("evidence:read", 200), ("jobs:read", 200), ("files:write", 403)])
async def test_a_report_needs_a_scope_that_reads(
    client: httpx.AsyncClient, unreleased: UnreleasedCheckpoint, scope: str, status: int
) -> None:
    headers = await key_headers(client, scope)
    assert (await client.get(f"/v1/jobs/{unreleased.job}/report", headers=headers)).status_code == status


async def test_a_release_is_in_the_report_with_its_key_but_without_its_reason(
    client: httpx.AsyncClient, unreleased: UnreleasedCheckpoint
) -> None:
    before = await report_of(client, unreleased.job)
    assert before.checkpoint is not None
    assert (before.checkpoint.released, before.checkpoint.released_by) == (False, None)
    headers = await key_headers(client, "release:write")
    assert (await client.post(f"{unreleased.path}/release", json=REASON, headers=headers)).status_code == 200
    after = await report_of(client, unreleased.job)
    assert after.checkpoint is not None
    assert after.checkpoint.released_by is not None
    assert after.checkpoint.released_by.name == "second"
    *_, made, released = after.actions
    assert (made.action, made.by, released.action) == ("checkpoint.made", None, "checkpoint.released")
    assert released.by == after.checkpoint.released_by
    assert "Ada Lovelace" not in after.model_dump_json()


async def test_a_failed_job_has_a_report_with_its_error(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client)
    fence = await claim_job(service, job["id"])
    error = {"code": "loss_is_nan", "message": "the loss became NaN", "blame": "user", "retryable": False}
    async with service.sessions.begin() as session:
        await leases.fail_or_retry(session, await leases.lock_job(session, job["id"], fence), error, max_failures=1)
    report = await report_of(client, job["id"])
    assert (report.status, report.verdict, report.checkpoint, report.deadline.kept) == ("failed", None, None, None)
    assert report.summary == ["The job failed and made no new model. The reason: the loss became NaN."]
    assert [(attempt.end, attempt.reason) for attempt in report.attempts] == [("failed", "loss_is_nan")]


async def test_a_cancelled_job_has_a_report(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client)
    assert (await client.post(f"/v1/jobs/{job['id']}/cancel")).status_code == 202
    report = await report_of(client, job["id"])
    assert (report.status, report.attempts) == ("cancelled", [])
    assert report.summary == ["The job was cancelled before its end. It made no new model."]


async def test_a_job_cancelled_after_its_retry_is_not_told_to_have_failed(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    error = {"code": "loss_is_nan", "message": "the loss became NaN", "blame": "user", "retryable": False}
    summaries = []
    for end in ("failed", "queued", "running"):
        job = (await submit_job(client))["id"]
        fence = await claim_job(service, job)
        async with service.sessions.begin() as session:
            await leases.fail_or_retry(session, await leases.lock_job(session, job, fence), error, max_failures=1)
        if end != "failed":
            assert (await client.post(f"/v1/jobs/{job}/retry")).status_code == 202
        if end == "running":
            fence = await claim_job(service, job)
        assert (await client.post(f"/v1/jobs/{job}/cancel")).status_code == 202
        if end == "running":
            async with service.sessions.begin() as session:
                await leases.confirm_cancel(session, job, fence)
        summaries.append((await report_of(client, job)).summary)
    before_its_end = ["The job was cancelled before its end. It made no new model."]
    failed = ["The job failed, and a person cancelled it afterwards. It made no new model."]
    assert summaries == [failed, before_its_end, before_its_end]


async def test_attempts_before_a_retry_stay_in_the_report(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client)
    fence = await claim_job(service, job["id"])
    async with service.sessions.begin() as session:
        row = await leases.lock_job(session, job["id"], fence)
        await job_status.end_attempt(session, row, reason="lease_expired")
    await claim_job(service, job["id"])
    assert (await client.post(f"/v1/jobs/{job['id']}/cancel")).status_code == 202
    async with service.sessions.begin() as session:
        await leases.confirm_cancel(session, job["id"], fence + 2)
    report = await report_of(client, job["id"])
    assert [(attempt.number, attempt.end, attempt.reason) for attempt in report.attempts] == [
        (1, "requeued", "lease_expired"),
        (2, "cancelled", "asked"),
    ]


@pytest.mark.parametrize(
    ("request_body", "route", "kind"),
    [({"dry_run": True}, "/v1/jobs", "preview"), ({}, "/v1/measurements", "measure")],
    ids=["preview", "measure"],
)
async def test_jobs_that_change_nothing_have_a_report_of_their_figures(
    service: Service, client: httpx.AsyncClient, request_body: dict[str, Any], route: str, kind: str
) -> None:
    await register_ready_model(service, client)
    body = {"model": "demo", "forget": {"records": ["a b"]}, **request_body}
    submitted = await client.post(route, json=body)
    assert submitted.status_code == 202, submitted.text
    job = submitted.json()["id"]
    fence = await claim_job(service, job)
    figures = await record_measurements(service, job, fence, 12.5)
    outcome = "preview" if kind == "preview" else None
    async with service.sessions.begin() as session:
        await completion.finish_without_checkpoint(session, job, fence, outcome=outcome)
    report = await report_of(client, job)
    assert (report.kind, report.treatment, report.verdict, report.checkpoint) == (kind, None, None, None)
    assert report.figures.before == figures
    assert "nothing" in report.summary[0]


async def test_a_deleted_forget_file_is_reported_as_deleted(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    file = await upload_records(client, "forget")
    job = await submit_job(client, forget={"file": file})
    assert (await client.post(f"/v1/jobs/{job['id']}/cancel")).status_code == 202
    (kept,) = (await report_of(client, job["id"])).purge
    assert (kept.file, kept.deleted) == (file, False)
    assert kept.expires_at is not None
    assert (await client.delete(f"/v1/files/{file}")).status_code == 204
    report = await report_of(client, job["id"])
    (gone,) = report.purge
    assert (gone.file, gone.deleted, gone.expires_at) == (file, True, None)
    (deletion,) = [action for action in report.actions if action.action == "file.deleted"]
    assert gone.deleted_at == deletion.at
    assert deletion.by is not None
    assert deletion.by.id == job["submitter"]


async def test_a_download_does_not_change_the_report(
    client: httpx.AsyncClient, unreleased: UnreleasedCheckpoint
) -> None:
    before = await client.get(f"/v1/jobs/{unreleased.job}/report")
    assert (await client.get(f"{unreleased.path}/files/config.json")).status_code == 200
    audit = (await client.get("/v1/audit", params={"action": "checkpoint.downloaded"})).json()
    assert [entry["object"] for entry in audit["data"]] == [unreleased.checkpoint]
    assert (await client.get(f"/v1/jobs/{unreleased.job}/report")).content == before.content


async def test_an_extended_deadline_is_reported_with_who_extended_it_and_why(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    received = "2026-01-31T12:00:00Z"
    job = await submit_job(client, received_at=received, due="2126-03-01")
    extended = await client.post(f"/v1/jobs/{job['id']}/extend", json={"reason": "forty at once", "due": "2126-04-30"})
    assert extended.status_code == 200, extended.text
    await finish_job(service, job["id"], await claim_job(service, job["id"]), {"config.json": b"{}"})
    deadline = (await report_of(client, job["id"])).deadline
    assert deadline.received_at.isoformat() == "2026-01-31T12:00:00+00:00"
    assert (str(deadline.due), deadline.kept) == ("2126-04-30", True)
    assert deadline.due_text == ("It was extended once. At first it was 1 March 2126: the day that the request named.")
    (extension,) = deadline.extensions
    assert (str(extension.previous_due), extension.reason) == ("2126-03-01", "forty at once")
    assert (extension.extended_by.id, extension.extended_by.name) == (job["submitter"], "test")


async def test_a_missed_deadline_is_reported_as_missed(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client, received_at="2026-01-31T12:00:00Z", due="2026-02-28")
    await finish_job(service, job["id"], await claim_job(service, job["id"]), {"config.json": b"{}"})
    deadline = (await report_of(client, job["id"])).deadline
    assert deadline.kept is False
    assert "the last day was 28 February 2026" in deadline.kept_text
    assert deadline.received_text == "The request stated this time; the service cannot check it."
    assert deadline.due_text.startswith("It is one calendar month after the day of receipt")


async def test_a_job_that_found_nothing_to_forget_says_that_it_changed_nothing(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client)
    fence = await claim_job(service, job["id"])
    async with service.sessions.begin() as session:
        await completion.finish_without_checkpoint(session, job["id"], fence, outcome="nothing_to_forget")
    report = await report_of(client, job["id"])
    assert report.checkpoint is None
    assert "nothing was changed" in report.summary[0]
    assert not any("still knows the text" in caveat for caveat in report.not_proved)
