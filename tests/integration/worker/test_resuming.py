"""Jobs that are paused, given back or lost, and the attempts that resume them."""

import httpx

from tests.integration.api.service import run_service
from tests.integration.worker.worker_setup import WorkerSetup, log_lines, terminate, wait_for

EPOCHS = 300


async def weights_digest(client: httpx.AsyncClient, job: str) -> str:
    """Returns the sha256 of the job's weights. The checkpoint's digest would differ, since its card names the job."""
    (checkpoint,) = (await client.get(f"/v1/jobs/{job}/checkpoints")).json()["data"]
    (digest,) = {file["sha256"] for file in checkpoint["files"] if file["path"] == "model.safetensors"}
    return str(digest)


async def wait_for_step(setup: WorkerSetup, job: str, after: int = 0) -> None:
    """Waits until the job has made more updates than `after`."""

    async def is_reached() -> bool:
        return ((await setup.scene.row(job)).step or 0) > after

    await wait_for(is_reached, seconds=240)


async def test_paused_resumed_and_killed_a_job_ends_with_the_weights_of_an_undisturbed_one(setup: WorkerSetup) -> None:
    undisturbed, job = await setup.job(epochs=EPOCHS), await setup.job(epochs=EPOCHS)
    settings = setup.settings.model_copy(update={"model_roots": [setup.folder]})
    async with run_service(settings) as service, service.client(organisation=setup.scene.organisation) as client:
        worker = setup.worker()
        await wait_for_step(setup, job)
        requested = (await client.post(f"/v1/jobs/{job}/pause")).json()
        assert (requested["status"], requested["requested"]) == ("running", "pause")
        await setup.wait_for_status(job, "paused")
        paused = (await client.get(f"/v1/jobs/{job}")).json()
        assert (paused["requested"], paused["phase"]) == (None, None)
        assert 0 < paused["progress"]["step"] < EPOCHS
        assert worker.children() == []
        assert {path.relative_to(setup.scratch).parts[:2] for path in setup.scratch_files()} == {(job, "snapshots")}

        assert (await client.post(f"/v1/jobs/{job}/resume")).json()["status"] == "queued"
        (snapshot,) = [int(path.parent.name) for path in (setup.scratch / job / "snapshots").glob("*/*/state.sealed")]
        await wait_for_step(setup, job, snapshot)
        (await worker.child()).kill()
        row = await setup.wait_for_status(job, "succeeded", "failed")
        assert row.status == "succeeded", (row.error, setup.logs())
        assert (row.attempts, row.failures) == (3, 1)
        resumed = [event.data["step"] for event in await setup.scene.events(job) if event.type == "resumed"]
        assert len(resumed) == 2
        assert snapshot == resumed[0] <= resumed[1]
        assert await weights_digest(client, job) == await weights_digest(client, undisturbed)
    await setup.wait_for_empty_scratch()
    terminate(worker)
    assert await worker.exit_code(seconds=15) == 0


async def test_a_worker_that_is_told_to_stop_lets_its_job_save_a_snapshot(setup: WorkerSetup) -> None:
    job = await setup.job(epochs=100_000)
    worker = setup.worker()
    await wait_for_step(setup, job)
    terminate(worker)
    assert await worker.exit_code(seconds=30) == 0
    assert worker.children() == []
    row = await setup.scene.row(job)
    assert (row.status, row.failures, row.attempts, row.worker) == ("queued", 0, 1, None)
    assert (await setup.scene.events(job))[-1].data == {"reason": "shutdown"}
    assert {path.relative_to(setup.scratch).parts[:2] for path in setup.scratch_files()} == {(job, "snapshots")}
    (snapshot,) = [int(path.parent.name) for path in (setup.scratch / job / "snapshots").glob("*/*/state.sealed")]
    assert snapshot > 0
    assert [entry["by"] for entry in log_lines(worker, "attempt interrupted")] == ["shutdown"]
