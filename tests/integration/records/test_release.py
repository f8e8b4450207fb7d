"""Releases by verdict, by the model's setting or by a second person, and the heads that they make."""

import asyncio

import pytest
import pytest_asyncio
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from core.records import checkpoints, completion, jobs, leases, models, release
from core.records.leases import FenceLost
from core.records.release import AlreadyReleased, OwnJob
from core.records.tables import ApiKey, AuditRow, CheckpointRow, ModelRow
from core.schema.ids import new_id
from core.schema.verdict_parts import Verdict
from tests.integration.records.scene import Scene, judgement
from tests.integration.records.test_completion import uploaded
from tests.integration.records.test_leases import claim


@pytest_asyncio.fixture
async def gate(clean_engine: AsyncEngine) -> Scene:
    """A scene whose model asks for a release by a person where a checkpoint did not pass."""
    scene = await Scene(clean_engine).create()
    await scene.model(release="on_pass")
    return scene


async def second_person(scene: Scene) -> str:
    key = new_id("key")
    async with scene.sessions.begin() as session:
        row = ApiKey(id=key, organisation=scene.organisation, name="b", prefix="b", hash=key.encode(), scopes=[])
        session.add(row)
    return key


async def finished(scene: Scene, verdict: Verdict | None, **values: str) -> tuple[str, str]:
    """A job from the head that has ended with this verdict: its id and its checkpoint's."""
    job = await scene.job(**({"start": "head"} | values))
    row = await claim(scene)
    assert row is not None
    assert row.id == job
    return job, await finish(scene, job, row.fence, verdict)


async def finish(scene: Scene, job: str, fence: int, verdict: Verdict | None) -> str:
    async with scene.sessions.begin() as session:
        judged = None if verdict is None else judgement(verdict)
        checkpoint = uploaded(job, fence)
        return await completion.finish(
            session, job, fence, outcome="unlearned", checkpoint=checkpoint, judgement=judged
        )


async def release_by(scene: Scene, checkpoint: str, key: str) -> CheckpointRow | None:
    async with scene.sessions.begin() as session:
        return await release.release(session, scene.organisation, checkpoint, key=key, reason="read by hand")


async def model_of(scene: Scene) -> ModelRow:
    async with scene.sessions() as session:
        model = await models.get(session, scene.organisation, "demo")
    assert model is not None
    return model


async def event_data(scene: Scene, job: str, type: str) -> list[dict[str, object]]:
    return [event.data for event in await scene.events(job) if event.type == type]


async def audit_log(scene: Scene) -> list[AuditRow]:
    """Returns the entries about checkpoints."""
    async with scene.sessions() as session:
        query = select(AuditRow).where(AuditRow.organisation == scene.organisation).order_by(AuditRow.seq)
        query = query.where(AuditRow.object.startswith("ckpt-"))
        return list(await session.scalars(query))


async def test_a_checkpoint_that_passed_is_released_and_becomes_the_head_at_once(gate: Scene) -> None:
    job, checkpoint = await finished(gate, "passed")
    row = await gate.row(job)
    assert (row.status, row.verdict) == ("succeeded", "passed")
    assert row.judgement == judgement("passed").model_dump(mode="json")
    async with gate.sessions() as session:
        row = await checkpoints.get(session, gate.organisation, checkpoint)
    assert row is not None
    assert (row.verdict, row.released, row.released_by) == ("passed", True, None)
    assert row.released_at is not None
    assert (await model_of(gate)).head == checkpoint
    types = [event.type for event in await gate.events(job)][-3:]
    assert types == ["judged", "released", "succeeded"], "a listener until the job is over gets them all"
    (entry,) = await audit_log(gate)
    assert (entry.key, entry.action, entry.object) == (None, "checkpoint.made", checkpoint)
    assert (entry.details["verdict"], entry.details["released"]) == ("passed", True)


@pytest.mark.parametrize("verdict", ["failed", "not_judged", None])
async def test_a_job_whose_checkpoint_did_not_pass_succeeds_and_the_checkpoint_waits(
    gate: Scene, verdict: Verdict | None
) -> None:
    job, checkpoint = await finished(gate, verdict)
    row = await gate.row(job)
    assert (row.status, row.checkpoint, row.verdict) == ("succeeded", checkpoint, verdict or "not_judged")
    async with gate.sessions() as session:
        row = await checkpoints.get(session, gate.organisation, checkpoint)
    assert row is not None
    assert (row.released, row.released_at, row.verdict) == (False, None, verdict or "not_judged")
    assert (await model_of(gate)).head is None
    assert await event_data(gate, job, "released") == []
    assert [data["released"] for data in await event_data(gate, job, "succeeded")] == [False]
    later = await gate.job(start="head")
    claimed = await claim(gate)
    assert claimed is not None
    assert (claimed.id, claimed.start_checkpoint) == (later, None)


async def test_a_checkpoint_of_a_model_that_needs_no_release_is_released_at_once(scene: Scene) -> None:
    job, checkpoint = await finished(scene, "not_judged")
    assert (await model_of(scene)).head == checkpoint
    assert await event_data(scene, job, "released") == [{"checkpoint": checkpoint, "head": True}]
    with pytest.raises(AlreadyReleased):
        await release_by(scene, checkpoint, await second_person(scene))


async def test_a_failed_checkpoint_becomes_the_head_only_by_a_persons_release(scene: Scene) -> None:
    job, checkpoint = await finished(scene, "failed")
    assert await event_data(scene, job, "released") == [{"checkpoint": checkpoint, "head": False}]
    assert (await model_of(scene)).head is None
    key = await second_person(scene)
    row = await release_by(scene, checkpoint, key)
    assert row is not None
    assert (row.released_by, (await model_of(scene)).head) == (key, checkpoint)
    with pytest.raises(AlreadyReleased):
        await release_by(scene, checkpoint, key)


async def test_a_late_worker_writes_no_verdict_no_event_and_no_audit_entry(gate: Scene) -> None:
    job = await gate.job(start="head")
    await claim(gate)
    async with gate.sessions.begin() as session:
        await leases.give_back(session, job, 1, reason="shutdown")
    again = await claim(gate)
    assert again is not None
    before = await gate.row(job)
    with pytest.raises(FenceLost):
        await finish(gate, job, 1, "passed")
    after = await gate.row(job)
    assert (after.verdict, after.judgement, after.version) == (None, None, before.version)
    assert await audit_log(gate) == []
    assert (await model_of(gate)).head is None
    await finish(gate, job, again.fence, "failed")
    assert (await gate.row(job)).verdict == "failed"


async def test_a_second_person_releases_a_checkpoint_and_later_jobs_start_from_it(gate: Scene) -> None:
    job, checkpoint = await finished(gate, "failed")
    key = await second_person(gate)
    row = await release_by(gate, checkpoint, key)
    assert row is not None
    assert (row.released, row.released_by, row.release_reason, row.verdict) == (True, key, "read by hand", "failed")
    assert row.released_at is not None
    assert (await model_of(gate)).head == checkpoint
    assert await event_data(gate, job, "released") == [{"checkpoint": checkpoint, "head": True}]
    created, released = await audit_log(gate)
    assert (released.key, released.action, released.object) == (key, "checkpoint.released", checkpoint)
    assert (released.details["reason"], released.details["job"], released.details["verdict"]) == (
        "read by hand",
        job,
        "failed",
    )
    assert (created.action, created.details["head"]) == ("checkpoint.made", False)
    with pytest.raises(AlreadyReleased):
        await release_by(gate, checkpoint, key)
    assert len(await audit_log(gate)) == 2


async def test_a_key_cannot_release_the_checkpoint_of_its_own_job(gate: Scene) -> None:
    job, checkpoint = await finished(gate, "not_judged")
    with pytest.raises(OwnJob):
        await release_by(gate, checkpoint, gate.key)
    async with gate.sessions() as session:
        row = await checkpoints.get(session, gate.organisation, checkpoint)
        assert row is not None
        assert (row.released, row.release_reason) == (False, None)
    assert await event_data(gate, job, "released") == []
    assert [entry.action for entry in await audit_log(gate)] == ["checkpoint.made"]


async def test_a_checkpoint_of_another_organisation_is_not_found(gate: Scene) -> None:
    _, checkpoint = await finished(gate, "failed")
    other = await Scene(gate.engine).create()
    assert await release_by(other, checkpoint, other.key) is None


async def test_of_several_releases_at_once_one_succeeds(gate: Scene) -> None:
    job, checkpoint = await finished(gate, "failed")
    keys = [await second_person(gate) for _ in range(4)]
    results = await asyncio.gather(*(release_by(gate, checkpoint, key) for key in keys), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["AlreadyReleased"] * 3 + ["CheckpointRow"]
    assert len(await event_data(gate, job, "released")) == 1


async def test_an_older_checkpoint_never_replaces_a_newer_head(gate: Scene) -> None:
    older, first = await finished(gate, "failed")
    _, newer = await finished(gate, "passed")
    row = await release_by(gate, first, await second_person(gate))
    assert row is not None
    assert row.released
    assert (await model_of(gate)).head == newer
    assert await event_data(gate, older, "released") == [{"checkpoint": first, "head": False}]


async def test_a_newer_checkpoint_replaces_a_head_that_is_no_ancestor_with_a_warning(gate: Scene) -> None:
    _, first = await finished(gate, "failed")
    second_job = await gate.job(start="head")
    row = await claim(gate)
    assert row is not None
    await release_by(gate, first, await second_person(gate))  # while the second runs, from the head before
    second = await finish(gate, second_job, row.fence, "passed")
    assert (await model_of(gate)).head == second
    (warning,) = (await gate.row(second_job)).warnings
    assert warning["code"] == "head_left_behind"
    assert first in warning["message"]
    third, _ = await finished(gate, "passed")
    assert (await gate.row(third)).warnings == []


@pytest.mark.parametrize("values", [{"start": "base"}, {"output": "adapter"}])
async def test_a_checkpoint_that_no_job_can_start_from_is_released_without_becoming_the_head(
    gate: Scene, values: dict[str, str]
) -> None:
    job, checkpoint = await finished(gate, "failed", **values)
    row = await release_by(gate, checkpoint, await second_person(gate))
    assert row is not None
    assert row.released
    assert (await model_of(gate)).head is None
    assert await event_data(gate, job, "released") == [{"checkpoint": checkpoint, "head": False}]


async def test_a_later_model_of_the_same_id_does_not_get_the_earlier_models_head(gate: Scene) -> None:
    _, checkpoint = await finished(gate, "failed")
    async with gate.sessions.begin() as session:
        assert await models.remove(session, gate.organisation, "demo")
    key = await second_person(gate)
    await gate.model(release="always")
    with pytest.raises(OwnJob):  # the new registration does not change the terms of the job
        await release_by(gate, checkpoint, gate.key)
    assert await release_by(gate, checkpoint, key) is not None
    assert (await model_of(gate)).head is None


async def test_a_key_may_release_its_own_job_where_the_model_needs_no_release(gate: Scene) -> None:
    _, checkpoint = await finished(gate, "failed")
    async with gate.sessions.begin() as session:
        await models.update_registration(session, gate.organisation, "demo", {"release": "always"})
    assert await release_by(gate, checkpoint, gate.key) is not None


async def test_jobs_are_listed_by_verdict(gate: Scene) -> None:
    wanted = [(await finished(gate, verdict))[0] for verdict in ("failed", "passed", "failed")]
    async with gate.sessions() as session:
        rows = await jobs.page(session, gate.organisation, limit=10, verdict="failed")
    assert [row.id for row in rows] == [wanted[2], wanted[0]]
