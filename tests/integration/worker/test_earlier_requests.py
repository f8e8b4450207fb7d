"""Jobs from a head: what earlier jobs made the model forget is measured again, as far as its text is stored."""

from typing import Any

from api.reports.html import write_html
from api.reports.pdf import write_pdf
from core.records import checkpoints, files
from core.report.assembly import assemble
from core.schema.default_policy import EARLIER_BOUNDS
from core.schema.evaluation import Measurements
from core.schema.policies import Bound, Policy
from core.schema.report import Report
from tests.integration.worker.worker_setup import CANARY, WorkerSetup

POLICY = Policy(
    name="earlier",
    bounds=[Bound(name="out", set="forget", figure="extraction_strength_highest", high=0.9), *EARLIER_BOUNDS],
)


async def finished(setup: WorkerSetup) -> tuple[str, Report]:
    """A job from the head that has succeeded, and its report."""
    measure = ("likelihood", "previously_forgotten")
    data = [{"name": "forget", "file": None, "records": 4, "sha256": None}]
    job = await setup.job(start="head", measure=measure, data=data, policy=POLICY.model_dump(mode="json"))
    row = await setup.wait_for_status(job, "succeeded", "failed")
    assert row.status == "succeeded", (row.error, setup.logs())
    async with setup.scene.sessions() as session:
        report = await assemble(session, setup.scene.organisation, job)
    assert report is not None
    return job, report


async def forget_file(setup: WorkerSetup, job: str) -> str:
    async with setup.scene.sessions() as session:
        return next(file.id for use, file in await files.list_for_job(session, job) if use.name == "forget")


async def kept(setup: WorkerSetup, job: str) -> dict[str, Any]:
    async with setup.scene.sessions() as session:
        rows = {row.moment: row for row in await checkpoints.measurements(session, job)}
    assert rows["before"].kept is None
    assert rows["after"].kept is not None
    Measurements.model_validate(rows["after"].measurements)
    return rows["after"].kept


async def test_each_job_from_a_head_measures_what_the_jobs_before_it_forgot(setup: WorkerSetup) -> None:
    setup.worker(WORKER_WARM_CHILDREN="1")
    first, report = await finished(setup)
    assert report.previously_forgotten == []
    figures = await kept(setup, first)
    assert [record["position"] for record in figures["records"]] == [0, 1, 2, 3]
    assert CANARY not in str(figures)

    second, report = await finished(setup)
    (entry,) = report.previously_forgotten
    assert (entry.job, entry.state, entry.records, entry.measured, entry.returned) == (first, "forgotten", 4, 4, 0)
    assert entry.then is not None
    assert entry.now is not None
    assert entry.answer.startswith("All 4 records were measured again. None has come back.")
    assert "The text that an earlier job made the model forget was measured again: none came back." in report.summary
    assert report.verdict is not None
    (bound,) = (bound for bound in report.verdict.bounds if bound.bound.name == "previously-forgotten")
    assert (bound.result, bound.records) == ("passed", 4)

    file = await forget_file(setup, first)
    async with setup.scene.sessions.begin() as session:
        await files.remove(session, setup.scene.organisation, file, blind=lambda digest: digest)
    await setup.keys.destroy(file)
    _, report = await finished(setup)
    newer, older = report.previously_forgotten
    assert (newer.job, newer.state, newer.measured) == (second, "forgotten", 4)
    assert (older.job, older.state, older.measured, older.last_measured) == (first, "not_measured", 0, second)
    assert f"The last job that measured it is {second}" in older.answer
    assert report.verdict is not None
    assert any("no longer stored" in warning for warning in report.verdict.warnings)
    page = write_html(report).decode()
    assert "Is the text of earlier requests still forgotten?" in page
    assert "cannot be measured" in page
    assert write_pdf(report).startswith(b"%PDF")
    assert CANARY not in setup.logs() + report.model_dump_json()
