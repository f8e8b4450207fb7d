"""Runs that several jobs share: who takes part, and how they end together or apart."""

from collections.abc import Mapping

import pytest

from core.records import completion, earlier_requests, job_actions, leases, lineage, models, release, shared_runs
from core.records.completion import UploadedCheckpoint
from core.records.leases import FenceLost
from core.records.release import OwnJob
from core.records.tables import ApiKey, CheckpointRow, JobRow
from core.schema.ids import new_id
from core.schema.manifest import FileEntry
from core.schema.verdict_parts import Verdict
from tests.integration.records.scene import Scene, judgement

DELIVERED = UploadedCheckpoint("checkpoints/x/1", [FileEntry(path="a", bytes=1, sha256="0" * 64)], "d" * 64, 3)
ERROR: dict[str, object] = {"code": "bad_record", "message": "x", "blame": "user", "retryable": False}


async def combinable(scene: Scene, **values: object) -> str:
    return await scene.job(**{"start": "head", "combine_key": "a", **values})  # type: ignore[arg-type]


async def claim(scene: Scene) -> list[JobRow]:
    """Claims a job; returns it with its companions."""
    async with scene.sessions.begin() as session:
        job = await leases.claim(session, worker="w1", gpus=0, lease_seconds=30)
        return [] if job is None else [job, *await shared_runs.companions(session, job)]


def ids(jobs: list[JobRow]) -> list[str]:
    return [job.id for job in jobs]


async def fail(scene: Scene, jobs: list[JobRow], error: dict[str, object]) -> None:
    async with scene.sessions.begin() as session:
        await leases.lock_jobs(session, {job.id: job.fence for job in jobs})
        for job in jobs:
            row = await leases.lock_job(session, job.id, job.fence)
            await leases.fail_or_retry(session, row, error, max_failures=2)


async def finish(scene: Scene, jobs: list[JobRow], verdicts: Mapping[str, Verdict]) -> list[str]:
    async with scene.sessions.begin() as session:
        return await completion.finish_all(
            session,
            {job.id: job.fence for job in jobs},
            outcome="unlearned",
            checkpoint=DELIVERED,
            judgements={job: judgement(verdict) for job, verdict in verdicts.items()},
        )


async def head(scene: Scene, name: str = "strict") -> str | None:
    async with scene.sessions() as session:
        model = await models.get(session, scene.organisation, name)
    assert model is not None
    return model.head


async def test_a_claim_takes_the_waiting_jobs_of_the_same_key_and_model_and_no_others(scene: Scene) -> None:
    await scene.model("other")
    first = await combinable(scene)
    alone, other_key = await scene.job(start="head"), await combinable(scene, combine_key="b")
    elsewhere = await combinable(scene, model="other")
    paused, cancelled, second = [await combinable(scene) for _ in range(3)]
    async with scene.sessions.begin() as session:
        await job_actions.pause(session, scene.organisation, paused)
        await job_actions.cancel(session, scene.organisation, cancelled)
    run = await claim(scene)
    assert ids(run) == [first, second]
    assert {(job.status, job.shared_run, job.fence, job.attempts) for job in run} == {("running", first, 1, 1)}
    assert ids(await claim(scene)) == [elsewhere]
    assert await claim(scene) == []
    for job in (alone, other_key):
        assert (await scene.row(job)).status == "queued"
    assert (await scene.events(second))[-1].type == "started"


async def test_a_run_has_a_limit(scene: Scene) -> None:
    waiting = [await combinable(scene) for _ in range(shared_runs.MOST_JOBS + 2)]
    assert ids(await claim(scene)) == waiting[:-2]


async def test_jobs_from_the_base_share_runs_too_and_several_run_at_once(scene: Scene) -> None:
    first, second = [await combinable(scene, start="base", combine_key="base") for _ in range(2)]
    assert ids(await claim(scene)) == [first, second]
    third = await combinable(scene, start="base", combine_key="base")
    (run,) = await claim(scene)
    assert (run.id, run.shared_run) == (third, None)


async def test_an_interrupted_run_goes_on_with_the_same_jobs(scene: Scene) -> None:
    members = [await combinable(scene) for _ in range(3)]
    for job in await claim(scene):
        async with scene.sessions.begin() as session:
            await leases.give_back(session, job.id, job.fence, reason="shutdown")
    newcomer = await combinable(scene)
    run = await claim(scene)
    assert ids(run) == members
    assert [job.fence for job in run] == [3, 3, 3]
    assert (await scene.row(newcomer)).status == "queued"


async def test_a_lost_run_goes_on_with_the_same_jobs_and_the_late_worker_changes_nothing(scene: Scene) -> None:
    members = [await combinable(scene) for _ in range(2)]
    late = await claim(scene)
    for job in members:
        await scene.recover(job)
    for job in members:
        await scene.end_delay(job)
    run = await claim(scene)
    assert ids(run) == members
    assert {job.failures for job in run} == {1}
    with pytest.raises(FenceLost):
        await finish(scene, late, {})
    assert {(await scene.row(job)).status for job in members} == {"running"}


@pytest.mark.parametrize("leaver", [0, 1])
@pytest.mark.parametrize(("action", "status"), [("cancel", "cancelled"), ("pause", "paused")])
async def test_a_job_that_is_stopped_leaves_the_run_and_the_others_run_again(
    scene: Scene, leaver: int, action: str, status: str
) -> None:
    members = [await combinable(scene, start="base") for _ in range(3)]
    run = await claim(scene)
    async with scene.sessions.begin() as session:
        await getattr(job_actions, action)(session, scene.organisation, members[leaver])
    for job in run:
        async with scene.sessions.begin() as session:
            await leases.leave_run(session, job.id, job.fence)
    rows = [await scene.row(job) for job in members]
    assert [row.status for row in rows] == [status if place == leaver else "queued" for place in range(3)]
    assert [row.failures for row in rows] == [0, 0, 0]
    stayed = [job for place, job in enumerate(members) if place != leaver]
    assert (await scene.events(stayed[0]))[-1].data == {"reason": "shared_run_changed"}
    again = await claim(scene)
    assert ids(again) == stayed
    assert {job.shared_run for job in again} == {stayed[0]}
    if action == "pause":
        async with scene.sessions.begin() as session:
            await job_actions.resume(session, scene.organisation, members[leaver])
        (resumed,) = await claim(scene)
        assert (resumed.id, resumed.shared_run) == (members[leaver], None)


async def test_a_run_that_cannot_be_helped_fails_no_job_and_each_runs_by_itself(scene: Scene) -> None:
    members = [await combinable(scene, start="base") for _ in range(2)]
    await fail(scene, await claim(scene), ERROR)
    for job in members:
        row = await scene.row(job)
        assert (row.status, row.combine_key, row.shared_run, row.failures) == ("queued", None, None, 0)
        assert (await scene.events(job))[-1].data == {"reason": "shared_run_failed"}
    runs = [await claim(scene), await claim(scene)]
    assert [ids(run) for run in runs] == [[job] for job in members]
    await fail(scene, runs[0], ERROR)
    assert (await scene.row(members[0])).status == "failed"
    assert (await scene.row(members[1])).status == "running"


async def test_a_run_is_tried_again_together_as_often_as_a_job(scene: Scene) -> None:
    members = [await combinable(scene) for _ in range(2)]
    lost = {**ERROR, "retryable": True}
    await fail(scene, await claim(scene), lost)
    for job in members:
        await scene.end_delay(job)
    again = await claim(scene)
    assert ids(again) == members
    await fail(scene, again, lost)
    assert {(await scene.row(job)).combine_key for job in members} == {None}


async def test_each_job_of_a_run_has_its_own_checkpoint_and_verdict_and_the_head_moves_once(scene: Scene) -> None:
    await scene.model("strict", release="on_pass")
    members = [await combinable(scene, model="strict") for _ in range(2)]
    made = await finish(scene, await claim(scene), dict.fromkeys(members, "passed"))
    rows = [await scene.row(job) for job in members]
    assert [(row.status, row.verdict, row.checkpoint, row.released) for row in rows] == [
        ("succeeded", "passed", checkpoint, True) for checkpoint in made
    ]
    assert await head(scene) == made[0]
    later = await combinable(scene, model="strict")
    (job,) = await claim(scene)
    assert (job.id, job.start_checkpoint) == (later, made[0])
    async with scene.sessions() as session:
        requests = await earlier_requests.made(session, scene.organisation, made[0], key_check=b"key")
        assert [stored.request.job for stored in requests] == members[::-1]
        model = await models.get(session, scene.organisation, "strict")
        assert model is not None
        assert await lineage.ancestors_of_head(session, model) == set(made)


async def test_one_job_that_does_not_pass_holds_the_run_back_until_a_person_releases_it(scene: Scene) -> None:
    await scene.model("strict", release="on_pass")
    first, second = [await combinable(scene, model="strict") for _ in range(2)]
    made = await finish(scene, await claim(scene), {first: "passed", second: "failed"})
    rows = [await scene.row(job) for job in (first, second)]
    assert [(row.verdict, row.released) for row in rows] == [("passed", False), ("failed", False)]
    assert await head(scene) is None
    (warning,) = rows[0].warnings
    assert warning["code"] == "shared_run_held_back"
    assert second in warning["message"]
    assert rows[1].warnings == []
    assert (await scene.events(first))[-1].type == "succeeded"

    officer = new_id("key")
    async with scene.sessions.begin() as session:
        key = ApiKey(id=officer, organisation=scene.organisation, name="o", prefix="o", hash=b"o", scopes=["admin"])
        session.add(key)
    with pytest.raises(OwnJob):
        async with scene.sessions.begin() as session:
            await release.release(session, scene.organisation, made[0], key=scene.key, reason="x")
    for checkpoint in made:  # the first makes the head, the second changes nothing: it has the same files
        async with scene.sessions.begin() as session:
            await release.release(session, scene.organisation, checkpoint, key=officer, reason="x")
        assert await head(scene) == made[0]
    assert (await scene.row(second)).warnings == []


async def test_a_run_whose_model_needs_no_release_makes_no_head_where_a_job_failed(scene: Scene) -> None:
    members = [await combinable(scene) for _ in range(2)]
    await finish(scene, await claim(scene), {members[0]: "passed", members[1]: "failed"})
    assert [(await scene.row(job)).released for job in members] == [True, True]
    assert await head(scene, "demo") is None


async def test_descendants_of_each_checkpoint_of_a_run_are_the_same(scene: Scene) -> None:
    members = [await combinable(scene) for _ in range(2)]
    made = await finish(scene, await claim(scene), {})
    await scene.job(start="head")
    (job,) = await claim(scene)
    child = UploadedCheckpoint("checkpoints/y/1", DELIVERED.files, "e" * 64, 3)
    async with scene.sessions.begin() as session:
        later = await completion.finish(session, job.id, job.fence, outcome="unlearned", checkpoint=child)
        model = await models.get(session, scene.organisation, "demo")
        assert model is not None
        for checkpoint in made:
            entries = await lineage.page(session, model, limit=9, descends_from=checkpoint)
            assert [entry[0].id for entry in entries] == [later]
        assert await lineage.ancestors_of_head(session, model) == {later, *made}
        rows = [await session.get(CheckpointRow, checkpoint) for checkpoint in made]
    assert [row.job for row in rows if row] == members
