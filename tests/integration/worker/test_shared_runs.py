"""Runs that several jobs share, with children that follow a script of the protocol, and with a real one."""

import asyncio

from core.records import checkpoints, files, job_actions
from core.records.tables import JobRow
from tests.integration.worker.scripted_child import ScriptedAttempts
from tests.integration.worker.worker_setup import CANARY, WorkerSetup, wait_for

SHARED_WORK = """
sets = [sent for sent in records() if "earlier" not in sent]
assert [sent.get("job") for sent in sets] == [None, *spec["companions"]], sets
assert {sent["name"] for sent in sets} == {"forget"}
say("warning", code="for_all", message="for all")
for number, job in enumerate([spec["job"], *spec["companions"]]):
    figure = {"value": 1.0 + number, "low": None, "high": None, "records": 4}
    sets = {"forget": {"perplexity": figure}}
    measurements = {"sets": sets, "seconds": 1.0, "model_digest": "0" * 64}
    say("measured", job=job, moment="after", measurements=measurements)
    say("warning", job=job, code="own", message=job)
    verdict = "passed" if number == 0 else "not_judged"
    judgement = {"policy": "a", "verdict": verdict, "scope": "verbatim", "bounds": []}
    say("judged", job=job, judgement=judgement)
save()
say("done", outcome="unlearned")
"""

TRAINS_UNTIL_STOPPED = """
records()
say("phase", phase="unlearning")
command = json.loads(sys.stdin.readline())["command"]
say("cancelled" if command == "cancel" else "paused", **({} if command == "cancel" else {"step": 0}))
"""


async def make_jobs(scripted: ScriptedAttempts, count: int = 2) -> list[str]:
    return [await scripted.setup.job(start="head", combine_key="a") for _ in range(count)]


async def rows(scripted: ScriptedAttempts, jobs: list[str]) -> list[JobRow]:
    return [await scripted.setup.scene.row(job) for job in jobs]


async def begin(scripted: ScriptedAttempts, jobs: list[str]) -> asyncio.Task[None]:
    """Starts a run of the jobs that trains until it is stopped."""
    attending = asyncio.create_task((await scripted.attempt(TRAINS_UNTIL_STOPPED)).attend())
    for job in jobs:
        await scripted.setup.wait_for_phase(job, "unlearning")
    return attending


async def test_each_job_of_a_run_gets_its_own_figures_verdict_and_warnings(scripted: ScriptedAttempts) -> None:
    jobs = await make_jobs(scripted)
    await (await scripted.attempt(SHARED_WORK)).attend()
    first, second = await rows(scripted, jobs)
    assert [row.status for row in (first, second)] == ["succeeded", "succeeded"], (first.error, second.error)
    assert [row.verdict for row in (first, second)] == ["passed", "not_judged"]
    assert {row.shared_run for row in (first, second)} == {first.id}
    async with scripted.setup.scene.sessions() as session:
        values = []
        for row in (first, second):
            (measured,) = await checkpoints.measurements(session, row.id)
            values.append(measured.measurements["sets"]["forget"]["perplexity"]["value"])
        made = [
            await checkpoints.get(session, scripted.setup.scene.organisation, str(row.checkpoint))
            for row in (first, second)
        ]
    assert values == [1.0, 2.0]
    assert len({checkpoint.prefix for checkpoint in made if checkpoint}) == 1
    assert len({checkpoint.id for checkpoint in made if checkpoint}) == 2
    for row in (first, second):
        messages = {warning["code"]: warning["message"] for warning in row.warnings}
        assert (messages["for_all"], messages["own"]) == ("for all", row.id)


async def test_a_cancelled_job_leaves_the_run_and_the_others_are_not_trained_on_its_text(
    scripted: ScriptedAttempts,
) -> None:
    jobs = await make_jobs(scripted, 3)
    attending = await begin(scripted, jobs)
    await scripted.request("cancel", jobs[1])
    await asyncio.wait_for(attending, 60)
    assert [row.status for row in await rows(scripted, jobs)] == ["queued", "cancelled", "queued"]
    await (await scripted.attempt(SHARED_WORK)).attend()  # asserts that it gets the sets of its own jobs alone
    first, cancelled, third = await rows(scripted, jobs)
    assert [row.status for row in (first, cancelled, third)] == ["succeeded", "cancelled", "succeeded"]
    assert (first.attempts, first.failures, cancelled.checkpoint) == (2, 0, None)


async def test_cancelling_the_job_that_leads_a_run_hands_it_to_the_next(scripted: ScriptedAttempts) -> None:
    jobs = await make_jobs(scripted)
    attending = await begin(scripted, jobs)
    await scripted.request("cancel", jobs[0])
    await asyncio.wait_for(attending, 60)
    await (await scripted.attempt(SHARED_WORK)).attend()
    cancelled, second = await rows(scripted, jobs)
    assert (cancelled.status, second.status, second.shared_run) == ("cancelled", "succeeded", None)


async def test_a_paused_job_leaves_the_run_and_runs_by_itself_when_it_is_resumed(scripted: ScriptedAttempts) -> None:
    jobs = await make_jobs(scripted)
    attending = await begin(scripted, jobs)
    await scripted.request("pause", jobs[1])
    await asyncio.wait_for(attending, 60)
    assert [row.status for row in await rows(scripted, jobs)] == ["queued", "paused"]
    await (await scripted.attempt(SHARED_WORK)).attend()
    await scripted.request("resume", jobs[1])
    await (await scripted.attempt(SHARED_WORK)).attend()
    first, second = await rows(scripted, jobs)
    assert [row.status for row in (first, second)] == ["succeeded", "succeeded"]
    assert second.start_checkpoint == first.checkpoint


async def test_a_run_that_fails_by_one_jobs_data_fails_that_job_alone(scripted: ScriptedAttempts) -> None:
    jobs = await make_jobs(scripted)
    script = f"""
    if {jobs[1]!r} in [spec["job"], *spec["companions"]]:
        error = {{"code": "bad_record", "message": "no", "blame": "user", "retryable": False}}
        say("failed", error=error)
        sys.exit(3)
    {SHARED_WORK.strip().replace(chr(10), chr(10) + "    ")}
    """
    for _ in range(3):
        await (await scripted.attempt(script)).attend()
    first, second = await rows(scripted, jobs)
    assert (first.status, first.attempts, first.shared_run) == ("succeeded", 2, None)
    assert (second.status, second.error and second.error["code"], second.attempts) == ("failed", "bad_record", 2)
    async with scripted.setup.scene.sessions.begin() as session:
        await job_actions.retry(session, scripted.setup.scene.organisation, jobs[1])
    assert (await scripted.setup.scene.row(jobs[1])).status == "queued"


async def test_a_shutdown_gives_all_jobs_of_a_run_back_and_the_run_goes_on(scripted: ScriptedAttempts) -> None:
    jobs = await make_jobs(scripted)
    attending = await begin(scripted, jobs)
    scripted.shutdown.set()
    await asyncio.wait_for(attending, 60)
    assert {(row.status, row.failures, row.shared_run) for row in await rows(scripted, jobs)} == {
        ("queued", 0, jobs[0])
    }


async def test_jobs_that_were_taken_from_their_worker_are_finished_once_by_another(
    scripted: ScriptedAttempts,
) -> None:
    jobs = await make_jobs(scripted)
    late = await begin(scripted, jobs)
    for job in jobs:
        await scripted.setup.scene.recover(job)
        await scripted.setup.scene.end_delay(job)
    await asyncio.wait_for(late, 60)  # at its next heartbeat it finds its fences gone, and writes nothing more
    assert {(row.status, row.failures) for row in await rows(scripted, jobs)} == {("queued", 1)}
    await (await scripted.attempt(SHARED_WORK)).attend()
    for job in jobs:
        row = await scripted.setup.scene.row(job)
        assert (row.status, row.attempts) == ("succeeded", 2)
        types = await scripted.setup.event_types(job)
        assert (types.count("started"), types.count("succeeded")) == (2, 1)


async def test_a_file_of_a_companion_that_is_gone_does_not_cost_the_others_their_run(
    scripted: ScriptedAttempts,
) -> None:
    jobs = await make_jobs(scripted)
    async with scripted.setup.scene.sessions() as session:
        ((_, file),) = await files.list_for_job(session, jobs[1])
    await scripted.setup.keys.destroy(file.id)
    for _ in range(3):
        await (await scripted.attempt(SHARED_WORK)).attend()

    async def over() -> bool:
        return all(row.status in ("succeeded", "failed") for row in await rows(scripted, jobs))

    await wait_for(over)
    first, second = await rows(scripted, jobs)
    assert (first.status, second.status) == ("succeeded", "failed")
    assert second.error is not None
    assert second.error["code"] == "file_gone"


async def test_a_run_whose_child_is_killed_resumes_from_its_snapshot_and_measures_each_forget_set(
    setup: WorkerSetup,
) -> None:
    jobs = [await setup.job(start="head", combine_key="a", epochs=300) for _ in range(2)]
    worker = setup.worker()

    async def has_snapshot() -> bool:
        return "snapshot" in await setup.event_types(jobs[1])

    await wait_for(has_snapshot, seconds=240)
    (await worker.child()).kill()
    for job in jobs:
        row = await setup.wait_for_status(job, "succeeded", "failed", seconds=240)
        assert row.status == "succeeded", (row.error, setup.logs())
        assert (row.attempts, row.failures, row.shared_run) == (2, 1, jobs[0])
        types = await setup.event_types(job)
        assert (types.count("resumed"), types.count("saved"), types.count("measured")) == (1, 1, 3)
        async with setup.scene.sessions() as session:
            measured = {row.moment: row for row in await checkpoints.measurements(session, job)}
        assert measured["after"].measurements["records"]["forget"] == 4
        assert measured["after"].kept is not None
    assert CANARY not in setup.logs()
    await setup.wait_for_empty_scratch()
