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
from tests.integration.worker.stage import CANARY, Stage, Worker, terminate, told, until
from worker.app import make_app, publish_hint


async def download(stage: Stage, checkpoint: str, folder: Path) -> str:
    """Fetches the checkpoint from the storage as its rows describe it; returns its digest."""
    async with stage.scene.sessions() as session:
        row = await checkpoints.get(session, stage.scene.organisation, checkpoint)
        assert row is not None
        paths = [file.path for file in await checkpoints.files(session, checkpoint)]
    for path in [*paths, MANIFEST_NAME]:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join([piece async for piece in stage.storage.read(f"{row.prefix}/{path}")]))
    return row.digest


async def test_a_job_runs_once_to_a_checkpoint_that_loads_and_its_text_is_nowhere(stage: Stage, tmp_path: Path) -> None:
    job = await stage.job(policy=DEFAULT_POLICY.model_dump(mode="json"), measure=["standard"])
    worker, other = stage.worker(), stage.worker()
    app = make_app(stage.settings.redis_url.get_secret_value())
    for _ in range(5):  # as often as a broker may deliver it
        await asyncio.to_thread(publish_hint, app, queue_name(0), {})
    row = await stage.until_status(job, "succeeded", "failed")
    types = await stage.types(job)
    assert row.status == "succeeded", (row.error, types, stage.logs())
    assert (row.attempts, row.failures, row.fence, row.phase) == (1, 0, 2, None)
    assert [types.count(one) for one in ("started", "saved", "measured", "succeeded")] == [1, 1, 2, 1]
    assert types[-1] == "succeeded"
    judged = Judgement.model_validate(row.judgement)
    assert (row.verdict, judged.verdict, judged.policy) == ("not_judged", "not_judged", "default")
    assert judged.reason == "no_reference_text"
    assert [one.bound for one in judged.bounds] == DEFAULT_POLICY.bounds
    async with stage.scene.sessions() as session:
        points = await checkpoints.curves(session, job)
        moments = {one.moment for one in await checkpoints.measurements(session, job)}
    assert {point.name for point in points} >= {"loss", "learning_rate"}
    assert moments == {"before", "after"}

    assert row.checkpoint is not None
    folder = tmp_path / "downloaded"
    assert await download(stage, row.checkpoint, folder) == digest(manifest(folder))
    AutoModelForCausalLM.from_pretrained(folder)

    await ended_well(worker, other)
    assert stage.left_in_scratch() == []
    assert [file.name for file in stage.measured()] == ["key"]  # of a forget set alone nothing is kept
    seen = stage.logs() + json.dumps([event.data for event in await stage.scene.events(job)])
    seen += judged.model_dump_json()
    assert CANARY not in seen
    assert len(told(worker, "attempt begins")) + len(told(other, "attempt begins")) == 1


async def ended_well(*workers: Worker) -> None:
    for worker in workers:
        terminate(worker)
    for worker in workers:
        assert await worker.ended(seconds=15) == 0
        assert worker.children() == []


async def test_a_job_whose_worker_is_killed_is_taken_up_by_another_and_finishes_once(stage: Stage) -> None:
    job = await stage.job(epochs=2000)
    first = stage.worker()
    await stage.until_phase(job, "unlearning")
    child = await first.child()
    second = stage.worker()
    await until(lambda: asyncio.to_thread(lambda: told(second, "worker starts")))
    await stage.shorten(job)
    first.kill()

    async def child_gone() -> bool:
        return not child.is_running()

    await until(child_gone, seconds=5)  # it must not go on working without anybody to hear it
    row = await stage.until_status(job, "succeeded", "failed")
    assert row.status == "succeeded", (row.error, stage.logs())
    assert (row.attempts, row.failures) == (2, 1)
    assert row.fence > 2
    types = await stage.types(job)
    assert (types.count("started"), types.count("succeeded")) == (2, 1)
    async with stage.scene.sessions() as session:
        assert len(await checkpoints.list_for_job(session, stage.scene.organisation, job)) == 1

    async def cleared() -> bool:
        return stage.left_in_scratch() == []

    await until(cleared)  # also what the killed one left behind
    await ended_well(second)


async def test_a_child_that_is_killed_again_and_again_fails_the_job_and_says_why(stage: Stage) -> None:
    job = await stage.job()
    worker = stage.worker()
    for attempt in (1, 2):

        async def begun(attempt: int = attempt) -> bool:
            return (await stage.scene.row(job)).attempts == attempt and worker.children() != []

        await until(begun)
        (await worker.child()).send_signal(signal.SIGKILL)
    row = await stage.until_status(job, "failed")
    assert (row.attempts, row.failures) == (2, 2)
    assert row.error is not None
    assert (row.error["code"], row.error["blame"], row.error["retryable"]) == ("child_died", "service", True)
    assert "signal 9 (SIGKILL)" in row.error["message"]
    assert "memory" in row.error["message"]
    async with stage.scene.sessions.begin() as session:
        await job_actions.retry(session, stage.scene.organisation, job)
    row = await stage.until_status(job, "succeeded", "failed")
    assert (row.status, row.attempts, row.failures) == ("succeeded", 3, 0)
    await ended_well(worker)
    assert stage.left_in_scratch() == []


async def test_cancelling_ends_a_running_job_and_a_waiting_one(stage: Stage) -> None:
    running, waiting = await stage.job(epochs=100_000), await stage.job()
    worker = stage.worker()
    await stage.until_phase(running, "unlearning")
    for job in (waiting, running):
        async with stage.scene.sessions.begin() as session:
            await job_actions.cancel(session, stage.scene.organisation, job)
    assert (await stage.scene.row(waiting)).status == "cancelled"
    row = await stage.until_status(running, "cancelled", "failed", seconds=5)
    assert (row.status, row.requested, row.failures, row.checkpoint) == ("cancelled", None, 0, None)
    assert "started" not in await stage.types(waiting)
    await ended_well(worker)
    assert stage.left_in_scratch() == []


async def test_jobs_from_one_head_run_in_turn_and_each_starts_from_the_one_before(stage: Stage) -> None:
    first, second = await stage.job(start="head"), await stage.job(start="head")
    worker = stage.worker(WORKER_SLOTS="2")
    one = await stage.until_status(first, "succeeded", "failed")
    two = await stage.until_status(second, "succeeded", "failed")
    assert (one.status, two.status) == ("succeeded", "succeeded"), stage.logs()
    assert two.start_checkpoint == one.checkpoint
    assert one.finished_at is not None
    assert two.started_at is not None
    assert two.started_at >= one.finished_at
    async with stage.scene.sessions() as session:
        model = await models.get(session, stage.scene.organisation, "demo")
        before = {row.moment: row for row in await checkpoints.measurements(session, second)}["before"]
        after = {row.moment: row for row in await checkpoints.measurements(session, first)}["after"]
    assert model is not None
    assert model.head == two.checkpoint
    assert before.measurements["model_digest"] == after.measurements["model_digest"]
    await ended_well(worker)


async def test_a_dry_run_and_a_measurement_end_with_figures_and_no_checkpoint(stage: Stage) -> None:
    dry = await stage.job(kind="preview", measure=["likelihood"])
    measure = await stage.job(kind="measure", measure=["likelihood"], method="none")
    worker = stage.worker(WORKER_SLOTS="2")
    for job, outcome, moment in ((dry, "preview", "before"), (measure, None, "after")):
        row = await stage.until_status(job, "succeeded", "failed")
        assert (row.status, row.outcome, row.checkpoint, row.fence) == ("succeeded", outcome, None, 2), row.error
        async with stage.scene.sessions() as session:
            (found,) = await checkpoints.measurements(session, job)
            assert (found.moment, list(found.measurements["sets"])) == (moment, ["forget"])
            assert await checkpoints.list_for_job(session, stage.scene.organisation, job) == []
    await ended_well(worker)
    assert stage.left_in_scratch() == []
