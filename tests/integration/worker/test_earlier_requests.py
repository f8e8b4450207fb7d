"""Jobs from a head: what earlier jobs made the model forget is measured again, as far as its text is stored."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.reports.html import write_html
from api.reports.pdf import write_pdf
from core.records import checkpoints, files, forgotten_records
from core.records.jobs import FileUse
from core.report.assembly import assemble
from core.schema.default_policy import EARLIER_BOUNDS
from core.schema.evaluation import Measurements
from core.schema.policies import Bound, Policy
from core.schema.record import Record
from core.schema.report import Report
from core.storage.record_digests import DIGEST_BYTES, key_check
from tests.integration.records.scene import TRAINING
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


@pytest.mark.parametrize("fault", ["deleted", "unreadable"])
async def test_a_retain_set_that_holds_a_record_of_an_unread_earlier_file_does_not_train_on_it(
    setup: WorkerSetup, fault: str
) -> None:
    setup.worker(WORKER_WARM_CHILDREN="1")
    first = await setup.job(start="head")
    assert (await setup.wait_for_status(first, "succeeded", "failed")).status == "succeeded", setup.logs()
    file = await forget_file(setup, first)
    async with setup.scene.sessions.begin() as session:
        kept = await forgotten_records.of_jobs(session, [first], key_check=key_check(setup.keys))
        if fault == "deleted":
            await files.remove(session, setup.scene.organisation, file, blind=lambda digest: digest)
    assert len(kept[first]) == 4 * DIGEST_BYTES
    if fault == "deleted":
        await setup.keys.destroy(file)
    else:

        async def other_bytes() -> AsyncIterator[bytes]:
            yield b"ULS1" + bytes(200)

        await setup.storage.write(f"files/{file}", other_bytes())

    retained = [Record(text=f"Person {number} lives in Ulmstead.") for number in range(8)]
    retained += [Record(text=f"Person {number} keeps {CANARY} at home in Vexford.") for number in range(4)]
    uses = [
        FileUse(await setup.upload("forget", [Record(text="Person 9 collects stamps in Ulmstead.")]), "forget"),
        FileUse(await setup.upload("retain", retained), "retain", kind="in_distribution"),
    ]
    training = TRAINING.model_copy(update={"records_per_step": 4, "learning_rate": 1e-5}).model_dump(mode="json")
    second = await setup.scene.job(start="head", files=uses, training=training, measure=["likelihood"])
    row = await setup.wait_for_status(second, "succeeded", "failed")
    assert row.status == "succeeded", (row.error, setup.logs())
    warned = {warning["code"]: warning["message"] for warning in row.warnings}
    assert warned["earlier_text_unread"].startswith(f"the text that {first} made the model forget is deleted or cannot")
    counts = [int(count) for count in re.findall(r"(\d+) of \d+ records left out", warned["overlapping_sets"])]
    assert sum(counts) == 4, "every record of the earlier file, wherever it was"
    assert CANARY not in setup.logs() + str(row.warnings)
