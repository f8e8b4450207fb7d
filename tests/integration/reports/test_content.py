"""The report of a real job as JSON: complete, the same bytes each time, and without any record's text."""

import hashlib
import json
from importlib.metadata import version

from api.reports.html import write_html
from core.schema.manifest import FileEntry, digest
from core.schema.report import Report, canonical_json
from tests.integration.reports.conftest import CANARY, RECORDS, REFERENCE, ReportedJob


async def fetch(reported: ReportedJob) -> Report:
    answer = await reported.client.get(reported.path)
    assert answer.status_code == 200, answer.text
    return Report.model_validate_json(answer.content)


async def test_the_report_is_the_same_bytes_each_time_and_canonical(reported: ReportedJob) -> None:
    first, second = [(await reported.client.get(reported.path)).content for _ in range(2)]
    assert first == second
    assert first == json.dumps(json.loads(first), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical_json(Report.model_validate_json(first)) == first


async def test_no_records_text_is_in_the_report(reported: ReportedJob) -> None:
    assert CANARY not in (await reported.client.get(reported.path)).text


async def test_the_report_says_who_asked_for_what_and_whether_it_was_in_time(reported: ReportedJob) -> None:
    report = await fetch(reported)
    assert (report.job, report.kind, report.status, report.outcome) == (
        *(reported.job["id"], "unlearn", "succeeded", "unlearned"),
    )
    assert report.request.organisation == "Test House"
    assert (report.request.submitter.id, report.request.submitter.name) == (reported.job["submitter"], "test")
    assert report.request.external_reference == REFERENCE
    assert str(report.deadline.due) == "2126-12-20"
    assert report.deadline.kept is True
    assert "API key alone" in report.request.requester_text
    assert report.request.requester_text.endswith("The reference leads to them.")
    assert report.deadline.received_text.startswith("The service's own clock set it")
    assert report.deadline.due_text == "It is the day that the request named."
    assert "the last day was 20 December 2126" in report.deadline.kept_text
    assert report.request.submitted_at <= report.attempts[0].started_at <= report.deadline.ended_at


async def test_the_data_is_described_by_digests_and_counts(reported: ReportedJob) -> None:
    report = await fetch(reported)
    assert [used.name for used in report.data] == ["forget", "retain", "unseen"]
    assert report.data[0].records == RECORDS
    uploaded = (await reported.client.get(f"/v1/files/{report.data[0].file}")).json()
    assert report.data[0].sha256 == uploaded["sha256"]
    assert [(purge.file, purge.deleted) for purge in report.purge] == [(uploaded["id"], False)]


async def test_model_method_code_and_machine_are_named(reported: ReportedJob) -> None:
    report = await fetch(reported)
    model = (await reported.client.get("/v1/models/small")).json()
    assert report.model.registered_digest == report.model.start_digest == model["digest"]
    assert report.treatment is not None
    assert report.treatment.method.name == reported.job["method"]["name"]
    assert report.treatment.method.paper_url
    assert report.treatment.training.epochs == 1
    assert report.environment is not None
    assert report.environment == report.attempts[0].environment
    assert report.environment.device == "cpu"
    assert {"torch", "transformers"} <= report.environment.libraries.keys()
    assert len(report.environment.code_digest) == 64
    assert report.cost is not None
    assert report.cost.tokens > 0


async def test_the_checkpoints_files_have_the_digests_that_the_download_has(reported: ReportedJob) -> None:
    report = await fetch(reported)
    made = report.checkpoint
    assert made is not None
    assert digest([FileEntry.model_validate(dict(file)) for file in made.files]) == made.digest
    config = next(file for file in made.files if file.path == "config.json")
    admin = await reported.service.key("release:write", "jobs:read", organisation="Test House")
    answer = await reported.client.get(
        f"/v1/checkpoints/{made.id}/files/config.json", headers={"Authorization": f"Bearer {admin}"}
    )
    assert hashlib.sha256(answer.content).hexdigest() == config.sha256


async def test_the_verdict_lists_each_bound_with_sentences_extraction_first(reported: ReportedJob) -> None:
    report = await fetch(reported)
    metrics = (await reported.client.get(f"/v1/jobs/{report.job}/metrics")).json()
    assert report.verdict is not None
    assert report.verdict.result == reported.job["verdict"] == metrics["judgement"]["verdict"]
    assert {bound.bound.name for bound in report.verdict.bounds} == {
        judged["bound"]["name"] for judged in metrics["judgement"]["bounds"]
    }
    parts = [bound.part for bound in report.verdict.bounds]
    assert parts == sorted(parts, key=["extraction", "membership", None].index)
    assert parts[0] == "extraction"
    for bound in report.verdict.bounds:
        assert (bound.level is None) is (bound.low is None)
        assert bound.question.endswith("?")
        assert bound.answer.endswith(".")
    assert report.figures.before is not None
    assert report.figures.before.model_dump(mode="json") == metrics["before"]
    assert report.figures.after is not None
    assert report.figures.after.model_dump(mode="json") == metrics["after"]


async def test_the_first_sentences_after_what_happened_are_about_extraction(reported: ReportedJob) -> None:
    report = await fetch(reported)
    assert str(RECORDS) in report.summary[0]
    assert any(words in report.summary[1] for words in ("got out", "came out"))
    assert any("erased" in caveat for caveat in report.not_proved)


async def test_attempts_and_actions_tell_who_did_what(reported: ReportedJob) -> None:
    report = await fetch(reported)
    assert [(attempt.number, attempt.end) for attempt in report.attempts] == [(1, "succeeded")]
    made = [action for action in report.actions if action.action == "checkpoint.made"]
    assert [(action.by, action.object) for action in made] == [(None, reported.job["checkpoint"])]


async def test_the_report_names_the_version_that_wrote_it_and_where_the_command_is_had(reported: ReportedJob) -> None:
    report = await fetch(reported)
    assert report.service_version == version("unlearning-service")
    first = report.checks[0]
    assert f"Version {report.service_version} of it wrote this report." in first.text
    assert "pip install" in (first.command or "")


async def test_a_report_of_the_version_before_can_still_be_read(reported: ReportedJob) -> None:
    content = json.loads((await reported.client.get(reported.path)).content)
    del content["service_version"], content["request"]["requester_text"]
    for name in ("received_text", "due_text", "kept_text"):
        del content["deadline"][name]
    for bound in content["verdict"]["bounds"]:
        del bound["level"]
    earlier = Report.model_validate({**content, "version": 5})
    assert earlier.service_version == ""
    assert b"Asked by" in write_html(earlier)


async def test_the_job_links_to_its_report(reported: ReportedJob) -> None:
    assert reported.job["links"]["report"] == reported.path
