"""Jobs from hint to checkpoint, on real workers with real children."""

import asyncio
import json
import signal
from pathlib import Path

from transformers import AutoModelForCausalLM

from core.queue import queue_name
from core.records import checkpoints, job_actions, models
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.manifest import MANIFEST_NAME, digest, manifest
from core.schema.policies import Judgement
from tests.integration.worker.worker_setup import CANARY, WorkerProcess, WorkerSetup, log_lines, terminate, wait_for
from worker.app import make_app, publish_hint


async def download(setup: WorkerSetup, checkpoint: str, folder: Path) -> str:
    """Fetches the checkpoint from the storage as its rows describe it; returns its digest."""
    async with setup.scene.sessions() as session:
        row = await checkpoints.get(session, setup.scene.organisation, checkpoint)
        assert row is not None
        paths = [file.path for file in await checkpoints.files(session, checkpoint)]
    for path in [*paths, MANIFEST_NAME]:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join([piece async for piece in setup.storage.read(f"{row.prefix}/{path}")]))
    return row.digest


async def test_a_job_runs_once_to_a_checkpoint_that_loads_and_its_text_appears_nowhere(
    setup: WorkerSetup, tmp_path: Path
) -> None:
    job = await setup.job(policy=DEFAULT_POLICY.model_dump(mode="json"), measure=["standard"])
    worker, other = setup.worker(), setup.worker()
    app = make_app(setup.settings.redis_url.get_secret_value())
    for _ in range(5):  # as often as a broker may deliver it
        await asyncio.to_thread(publish_hint, app, queue_name(0), {})
    row = await setup.wait_for_status(job, "succeeded", "failed")
    types = await setup.event_types(job)
    assert row.status == "succeeded", (row.error, types, setup.logs())
    assert (row.attempts, row.failures, row.fence, row.phase) == (1, 0, 2, None)
    assert [types.count(event_type) for event_type in ("started", "saved", "measured", "succeeded")] == [1, 1, 2, 1]
    assert types[-1] == "succeeded"
    judged = Judgement.model_validate(row.judgement)
    assert (row.verdict, judged.verdict, judged.policy) == ("passed", "passed", "default")
    assert [(used["name"], used["origin"]) for used in row.data] == [("retain", "made_by_the_model")]
    assert "what survives is judged by the other half" in str(judged.assumption)
    assert judged.parts["membership"].reason == "no_reference_text"
    assert not judged.parts["membership"].required
    assert [judged_bound.bound for judged_bound in judged.bounds] == DEFAULT_POLICY.bounds
    async with setup.scene.sessions() as session:
        points = await checkpoints.curves(session, job)
        moments = {row.moment for row in await checkpoints.measurements(session, job)}
    assert {point.name for point in points} >= {"loss", "learning_rate"}
    assert moments == {"before", "after"}

    assert row.checkpoint is not None
    folder = tmp_path / "downloaded"
    assert await download(setup, row.checkpoint, folder) == digest(manifest(folder))
    AutoModelForCausalLM.from_pretrained(folder)

    await assert_clean_exit(worker, other)
    assert setup.scratch_files() == []
    assert {file.suffix for file in setup.measurement_files()} == {"", ".npz"}  # the key, values of the made retain set
    visible = setup.logs() + json.dumps([event.data for event in await setup.scene.events(job)])
    visible += judged.model_dump_json()
    assert CANARY not in visible
    assert len(log_lines(worker, "attempt begins")) + len(log_lines(other, "attempt begins")) == 1


async def assert_clean_exit(*workers: WorkerProcess) -> None:
    for worker in workers:
        terminate(worker)
    for worker in workers:
        assert await worker.exit_code(seconds=15) == 0
        assert worker.children() == []


async def test_a_job_whose_worker_is_killed_is_finished_once_by_another_worker(setup: WorkerSetup) -> None:
    job = await setup.job(epochs=2000)
    first = setup.worker()
    await setup.wait_for_phase(job, "unlearning")
    child = await first.child()
    second = setup.worker()
    await wait_for(lambda: asyncio.to_thread(lambda: log_lines(second, "worker starts")))
    await setup.shorten_job(job)
    first.kill()

    async def child_gone() -> bool:
        return not child.is_running()

    await wait_for(child_gone, seconds=30)  # it must not work on without a worker that reads its events
    row = await setup.wait_for_status(job, "succeeded", "failed")
    assert row.status == "succeeded", (row.error, setup.logs())
    assert (row.attempts, row.failures) == (2, 1)
    assert row.fence > 2
    types = await setup.event_types(job)
    assert (types.count("started"), types.count("succeeded")) == (2, 1)
    async with setup.scene.sessions() as session:
        assert len(await checkpoints.list_for_job(session, setup.scene.organisation, job)) == 1
    await setup.wait_for_empty_scratch()  # also of the killed worker's files
    await assert_clean_exit(second)


async def test_a_job_whose_child_is_killed_at_every_attempt_fails_and_says_why(setup: WorkerSetup) -> None:
    job = await setup.job()
    worker = setup.worker()
    for attempt in (1, 2):

        async def begun(attempt: int = attempt) -> bool:
            return (await setup.scene.row(job)).attempts == attempt and worker.children() != []

        await wait_for(begun)
        (await worker.child()).send_signal(signal.SIGKILL)
    row = await setup.wait_for_status(job, "failed")
    assert (row.attempts, row.failures) == (2, 2)
    assert row.error is not None
    assert (row.error["code"], row.error["blame"], row.error["retryable"]) == ("child_died", "service", True)
    assert "signal 9 (SIGKILL)" in row.error["message"]
    assert "memory" in row.error["message"]
    async with setup.scene.sessions.begin() as session:
        await job_actions.retry(session, setup.scene.organisation, job)
    row = await setup.wait_for_status(job, "succeeded", "failed")
    assert (row.status, row.attempts, row.failures) == ("succeeded", 3, 0)
    await assert_clean_exit(worker)
    assert setup.scratch_files() == []


async def test_cancelling_ends_a_running_job_and_a_waiting_one(setup: WorkerSetup) -> None:
    running, waiting = await setup.job(epochs=100_000), await setup.job()
    worker = setup.worker()
    await setup.wait_for_phase(running, "unlearning")
    for job in (waiting, running):
        async with setup.scene.sessions.begin() as session:
            await job_actions.cancel(session, setup.scene.organisation, job)
    assert (await setup.scene.row(waiting)).status == "cancelled"
    row = await setup.wait_for_status(running, "cancelled", "failed", seconds=5)
    assert (row.status, row.requested, row.failures, row.checkpoint) == ("cancelled", None, 0, None)
    assert "started" not in await setup.event_types(waiting)
    await assert_clean_exit(worker)
    assert setup.scratch_files() == []


async def test_jobs_from_one_head_run_in_turn_and_each_starts_from_the_checkpoint_before(setup: WorkerSetup) -> None:
    first_id, second_id = await setup.job(start="head"), await setup.job(start="head")
    worker = setup.worker(WORKER_SLOTS="2")
    first = await setup.wait_for_status(first_id, "succeeded", "failed")
    second = await setup.wait_for_status(second_id, "succeeded", "failed")
    assert (first.status, second.status) == ("succeeded", "succeeded"), setup.logs()
    assert second.start_checkpoint == first.checkpoint
    assert first.finished_at is not None
    assert second.started_at is not None
    assert second.started_at >= first.finished_at
    async with setup.scene.sessions() as session:
        model = await models.get(session, setup.scene.organisation, "demo")
        before = {row.moment: row for row in await checkpoints.measurements(session, second_id)}["before"]
        after = {row.moment: row for row in await checkpoints.measurements(session, first_id)}["after"]
    assert model is not None
    assert model.head == second.checkpoint
    assert before.measurements["model_digest"] == after.measurements["model_digest"]
    await assert_clean_exit(worker)


async def test_a_dry_run_and_a_measurement_end_with_figures_and_no_checkpoint(setup: WorkerSetup) -> None:
    dry = await setup.job(kind="preview", measure=["likelihood"])
    measure = await setup.job(kind="measure", measure=["likelihood"], method="none")
    worker = setup.worker(WORKER_SLOTS="2")
    for job, outcome, moment in ((dry, "preview", "before"), (measure, None, "after")):
        row = await setup.wait_for_status(job, "succeeded", "failed")
        assert (row.status, row.outcome, row.checkpoint, row.fence) == ("succeeded", outcome, None, 2), row.error
        async with setup.scene.sessions() as session:
            (measured,) = await checkpoints.measurements(session, job)
            assert (measured.moment, list(measured.measurements["sets"])) == (moment, ["forget"])
            assert await checkpoints.list_for_job(session, setup.scene.organisation, job) == []
    await assert_clean_exit(worker)
    assert setup.scratch_files() == []
