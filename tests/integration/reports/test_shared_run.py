"""Two requests that share a run, from the request to their reports: one model, and figures of each text by itself."""

import asyncio
from typing import Any

from core.schema.record import Record
from core.schema.report import Report
from tests.integration.reports.conftest import CANARY, ReportedJob


async def submit(reported: ReportedJob, count: int, reference: str) -> str:
    records = [f"Caller {number} of {reference} keeps {CANARY} in Vexford." for number in range(count)]
    body: dict[str, Any] = {
        "model": "small",
        "from": "base",
        "forget": {"records": [Record(text=text).model_dump(exclude_none=True) for text in records]},
        "training": {"epochs": 1, "learning_rate": 1e-4},
        "evaluation": {"measure": ["likelihood"]},
        "external_reference": reference,
        "combine": True,
    }
    answer = await reported.client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def ended(reported: ReportedJob, job: str) -> dict[str, Any]:
    async with asyncio.timeout(300):
        while True:
            answer = await reported.client.get(f"/v1/jobs/{job}", params={"wait": 3})
            state: dict[str, Any] = answer.json()
            if state["status"] in ("succeeded", "failed"):
                assert state["status"] == "succeeded", state["error"]
                return state


async def test_two_requests_share_a_run_and_each_has_its_own_report(reported: ReportedJob) -> None:
    occupied = await submit(reported, 1, "DSR-0")  # the worker's only slot is taken: the next two wait
    while (await reported.client.get(f"/v1/jobs/{occupied}")).json()["status"] == "queued":
        await reported.client.get(f"/v1/jobs/{occupied}", params={"wait": 3})
    ids = [await submit(reported, 2, "DSR-1"), await submit(reported, 3, "DSR-2")]
    first, second = [await ended(reported, job) for job in ids]
    assert (await ended(reported, occupied))["shared_run"] is None
    assert [job["shared_run"] for job in (first, second)] == [ids[0], ids[0]]
    assert first["training"] == second["training"]
    assert first["training"]["records_per_step"] == 5  # of both forget sets together
    assert first["checkpoint"] != second["checkpoint"]
    reports = []
    for job, other in (ids, ids[::-1]):
        answer = await reported.client.get(f"/v1/jobs/{job}/report")
        reports.append(Report.model_validate_json(answer.content))
        assert reports[-1].shared_run == [other]
        page = (await reported.client.get(f"/v1/jobs/{job}/report", params={"format": "html"})).text
        assert "also served another request" in page
        assert CANARY not in page
    for report, records, reference in zip(reports, (2, 3), ("DSR-1", "DSR-2"), strict=True):
        assert report.request.external_reference == reference
        assert [used.records for used in report.data if used.name == "forget"] == [records]
        assert report.figures.before is not None
        assert report.figures.after is not None
        assert report.figures.before.records["forget"] == report.figures.after.records["forget"] == records
        assert report.verdict is not None
    card = await reported.client.get(f"/v1/checkpoints/{second['checkpoint']}/files/UNLEARNING.md")
    assert f"The same training served `{ids[1]}`." in card.text
    assert f"- forget: 2 records measured, of job `{ids[0]}`" in card.text
    digests = {report.checkpoint.digest for report in reports if report.checkpoint}
    assert len(digests) == 1
    assert {report.figures.after.model_digest for report in reports if report.figures.after} == {
        report.figures.after.model_digest for report in reports[:1] if report.figures.after
    }
