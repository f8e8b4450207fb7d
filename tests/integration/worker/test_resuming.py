"""Jobs that are paused, given back or lost, and the attempts that go on from what they had done."""

import httpx

from tests.integration.api.service import serving
from tests.integration.worker.stage import Stage, terminate, told, until

EPOCHS = 300


async def weights(client: httpx.AsyncClient, job: str) -> str:
    """The sha256 of the weights that the job has delivered; its card, which names the job, is another for each."""
    (checkpoint,) = (await client.get(f"/v1/jobs/{job}/checkpoints")).json()["data"]
    (digest,) = {file["sha256"] for file in checkpoint["files"] if file["path"] == "model.safetensors"}
    return str(digest)


async def trained(stage: Stage, job: str, beyond: int = 0) -> None:
    async def further() -> bool:
        return ((await stage.scene.row(job)).step or 0) > beyond

    await until(further)


async def test_paused_resumed_and_killed_a_job_ends_with_the_weights_of_an_undisturbed_one(stage: Stage) -> None:
    undisturbed, job = await stage.job(epochs=EPOCHS), await stage.job(epochs=EPOCHS)
    settings = stage.settings.model_copy(update={"model_roots": [stage.folder]})
    async with serving(settings) as service, service.client(organisation=stage.scene.organisation) as client:
        worker = stage.worker()
        await trained(stage, job)
        asked = (await client.post(f"/v1/jobs/{job}/pause")).json()
        assert (asked["status"], asked["requested"]) == ("running", "pause")
        await stage.until_status(job, "paused")
        paused = (await client.get(f"/v1/jobs/{job}")).json()
        assert (paused["requested"], paused["phase"]) == (None, None)
        assert 0 < paused["progress"]["step"] < EPOCHS
        assert worker.children() == []
        assert {path.relative_to(stage.scratch).parts[:2] for path in stage.left_in_scratch()} == {(job, "snapshots")}

        assert (await client.post(f"/v1/jobs/{job}/resume")).json()["status"] == "queued"
        (kept,) = [int(path.parent.name) for path in (stage.scratch / job / "snapshots").glob("*/*/state.json")]
        await trained(stage, job, kept)
        (await worker.child()).kill()
        row = await stage.until_status(job, "succeeded", "failed")
        assert row.status == "succeeded", (row.error, stage.logs())
        assert (row.attempts, row.failures) == (3, 1)
        resumed = [event.data["step"] for event in await stage.scene.events(job) if event.type == "resumed"]
        assert len(resumed) == 2
        assert kept == resumed[0] <= resumed[1]
        assert await weights(client, job) == await weights(client, undisturbed)
    assert stage.left_in_scratch() == []
    terminate(worker)
    assert await worker.ended(seconds=15) == 0


async def test_a_worker_that_is_told_to_stop_lets_its_job_keep_what_it_has_done(stage: Stage) -> None:
    job = await stage.job(epochs=100_000)
    worker = stage.worker()
    await trained(stage, job)
    terminate(worker)
    assert await worker.ended(seconds=30) == 0
    assert worker.children() == []
    row = await stage.scene.row(job)
    assert (row.status, row.failures, row.attempts, row.worker) == ("queued", 0, 1, None)
    assert (await stage.scene.events(job))[-1].data == {"reason": "shutdown"}
    assert {path.relative_to(stage.scratch).parts[:2] for path in stage.left_in_scratch()} == {(job, "snapshots")}
    (kept,) = [int(path.parent.name) for path in (stage.scratch / job / "snapshots").glob("*/*/state.json")]
    assert kept > 0
    assert [entry["by"] for entry in told(worker, "attempt interrupted")] == ["shutdown"]
