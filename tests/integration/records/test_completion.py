"""A finish is the only way in which a checkpoint becomes visible."""

import pytest

from core.records import checkpoints, completion, job_actions, lease_recovery, leases, models, progress
from core.records.completion import UploadedCheckpoint, checkpoint_prefix
from core.records.leases import FenceLost
from core.schema.manifest import FileEntry
from tests.integration.records.scene import Scene
from tests.integration.records.test_leases import claim

FILES = [FileEntry(path="config.json", bytes=2, sha256="a" * 64), FileEntry(path="x/y", bytes=5, sha256="b" * 64)]


def uploaded(job: str, fence: int) -> UploadedCheckpoint:
    return UploadedCheckpoint(prefix=checkpoint_prefix(job, fence), files=FILES, digest="c" * 64, step=7)


async def finish(scene: Scene, job: str, fence: int) -> str:
    async with scene.sessions.begin() as session:
        return await completion.finish(session, job, fence, outcome="unlearned", checkpoint=uploaded(job, fence))


async def test_a_finish_makes_the_checkpoint_visible_and_the_models_head(scene: Scene) -> None:
    job = await scene.job(start="head")
    await claim(scene)
    checkpoint = await finish(scene, job, 1)
    row = await scene.row(job)
    assert (row.status, row.outcome, row.checkpoint, row.fence) == ("succeeded", "unlearned", checkpoint, 2)
    async with scene.sessions() as session:
        row = await checkpoints.get(session, scene.organisation, checkpoint)
        assert row is not None
        assert (row.size, row.digest, row.released, row.step) == (7, "c" * 64, True, 7)
        assert [file.path for file in await checkpoints.files(session, checkpoint)] == ["config.json", "x/y"]
        model = await models.get(session, scene.organisation, "demo")
        assert model is not None
        assert model.head == checkpoint
        assert await checkpoints.get(session, "org-other", checkpoint) is None


async def test_the_next_job_from_the_head_starts_from_that_checkpoint(scene: Scene) -> None:
    first, second = await scene.job(start="head"), await scene.job(start="head")
    await claim(scene)
    checkpoint = await finish(scene, first, 1)
    job = await claim(scene)
    assert job is not None
    assert (job.id, job.start_checkpoint) == (second, checkpoint)


async def test_a_job_from_the_base_leaves_the_head_alone(scene: Scene) -> None:
    job = await scene.job(start="base")
    await claim(scene)
    await finish(scene, job, 1)
    async with scene.sessions() as session:
        model = await models.get(session, scene.organisation, "demo")
    assert model is not None
    assert model.head is None


async def test_an_adapter_is_delivered_but_never_becomes_the_head(scene: Scene) -> None:
    first, second = await scene.job(start="head", output="adapter"), await scene.job(start="head")
    await claim(scene)
    checkpoint = await finish(scene, first, 1)
    assert (await scene.row(first)).checkpoint == checkpoint
    job = await claim(scene)
    assert job is not None
    assert (job.id, job.start_checkpoint) == (second, None)


async def test_a_late_worker_cannot_finish_a_reclaimed_job(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene, worker="late")
    await scene.expire_lease(job)
    async with scene.sessions.begin() as session:
        assert await lease_recovery.recover_expired(session, max_failures=3) == [job]
    await scene.end_delay(job)
    second = await claim(scene, worker="second")
    assert second is not None
    assert second.fence == 3
    for fence in (1, 2):
        with pytest.raises(FenceLost):
            await finish(scene, job, fence)
    checkpoint = await finish(scene, job, 3)
    with pytest.raises(FenceLost):
        await finish(scene, job, 3)
    async with scene.sessions() as session:
        assert [row.id for row in await checkpoints.list_for_job(session, scene.organisation, job)] == [checkpoint]


async def test_a_worker_that_lost_the_answer_to_its_commit_finds_its_checkpoint(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    checkpoint = await finish(scene, job, 1)
    async with scene.sessions() as session:
        assert await completion.find_checkpoint(session, job, prefix=checkpoint_prefix(job, 1)) == checkpoint
        assert await completion.find_checkpoint(session, job, prefix=checkpoint_prefix(job, 3)) is None


async def test_curve_points_of_an_earlier_longer_attempt_are_deleted(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    points = [(step, "loss", float(step)) for step in range(10)]
    async with scene.sessions.begin() as session:
        await progress.set_steps(session, job, 1, step=9, steps=9, eta_seconds=0.0, points=points)
    await finish(scene, job, 1)
    async with scene.sessions() as session:
        assert [point.step for point in await checkpoints.curves(session, job)] == list(range(8))


async def test_an_attempt_is_undelivered_when_it_is_over_and_has_no_checkpoint(scene: Scene) -> None:
    done, running, waiting = await scene.job(), await scene.job(), await scene.job()
    for _ in range(3):
        await claim(scene)
    await finish(scene, done, 1)
    async with scene.sessions.begin() as session:
        await leases.give_back(session, waiting, 1, reason="shutdown")
    attempts = {(job, fence) for job in (done, running, waiting) for fence in (0, 1)} | {("job-unknown", 1)}
    async with scene.sessions() as session:
        assert await completion.undelivered_attempts(session, attempts) == {
            (done, 0),
            (running, 0),
            (waiting, 0),
            (waiting, 1),
        }


async def test_a_request_to_cancel_after_the_finish_is_refused(scene: Scene) -> None:
    job = await scene.job()
    await claim(scene)
    await finish(scene, job, 1)
    with pytest.raises(job_actions.NotAllowed):
        async with scene.sessions.begin() as session:
            await job_actions.cancel(session, scene.organisation, job)
