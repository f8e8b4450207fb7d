"""Each change of a job's status does what the table says of it, and none is made that the table does not allow: the
module refuses it, and so does the database where other code writes the status."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import inspect, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from core.records import job_status
from core.records.job_status import Change, InvalidChange
from core.records.tables import JobRow, SampleKeyRow
from core.schema.ids import new_id
from core.schema.jobs import STATUSES, TERMINAL, Requested, Status
from tests.integration.records.scene import Scene

Make = Callable[[AsyncSession, JobRow], Awaitable[None]]
MAKE: dict[Change, Make] = {
    job_status.SUBMIT: lambda session, job: job_status.submit(session, job, {}),
    job_status.START: lambda session, job: job_status.start(session, job, worker="w", lease_seconds=30),
    job_status.SUCCEED: lambda session, job: job_status.succeed(session, job, outcome=None, checkpoint=None, data={}),
    job_status.FAIL: lambda session, job: job_status.fail(session, job, {"code": "x"}),
    job_status.REQUEUE: lambda session, job: job_status.end_attempt(session, job, reason="x"),
    job_status.PAUSE_RUNNING: lambda session, job: job_status.end_attempt(session, job, reason="x"),
    job_status.CANCEL_RUNNING: lambda session, job: job_status.end_attempt(session, job, reason="x"),
    job_status.PAUSE: job_status.pause,
    job_status.RESUME: job_status.resume,
    job_status.CANCEL: job_status.cancel,
    job_status.RETRY: job_status.retry,
}
REQUESTED: dict[Change, Requested] = {job_status.PAUSE_RUNNING: "pause", job_status.CANCEL_RUNNING: "cancel"}
"""The request that `end_attempt` grants by the change."""
ALLOWED = [(change, source) for change in job_status.CHANGES for source in sorted(filter(None, change.sources))]


async def job_in(scene: Scene, status: Status, requested: Requested | None) -> str:
    """A job that has every column filled which some change clears, and no hint waiting."""
    job = await scene.job()
    query = text(
        "UPDATE jobs SET status = :status, requested = :requested, phase = 'unlearning', step = 3, steps = 9,"
        " fraction = 0.5, eta_seconds = 1, worker = 'earlier', error = '{}', fence = 4, failures = 2,"
        " lease_expires_at = CASE WHEN :running THEN clock_timestamp() + interval '1 hour' END,"
        " finished_at = CASE WHEN :over THEN clock_timestamp() END WHERE id = :job"
    )
    values = {"running": status == "running", "over": status in TERMINAL, "job": job}
    async with scene.sessions.begin() as session:
        await session.execute(text("ALTER TABLE jobs DISABLE TRIGGER tr_jobs_status_change"))
        await session.execute(query, {"status": status, "requested": requested, **values})
        await session.execute(text("ALTER TABLE jobs ENABLE TRIGGER tr_jobs_status_change"))
        await session.execute(text("DELETE FROM outbox"))
    return job


async def make(scene: Scene, job: str, change: Change) -> None:
    async with scene.sessions.begin() as session:
        row = await session.scalar(select(JobRow).where(JobRow.id == job).with_for_update())
        assert row is not None
        await MAKE[change](session, row)


def columns(row: JobRow) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in inspect(JobRow).column_attrs}


async def hints(scene: Scene) -> list[str]:
    async with scene.sessions() as session:
        return list(await session.scalars(text("SELECT topic FROM outbox")))


@pytest.mark.parametrize(("change", "source"), ALLOWED, ids=lambda value: getattr(value, "target", value))
async def test_a_change_does_what_the_table_says(scene: Scene, change: Change, source: Status) -> None:
    job = await job_in(scene, source, REQUESTED.get(change))
    await make(scene, job, change)
    row = await scene.row(job)
    assert row.status == change.target
    assert row.fence == (5 if change.raises_fence else 4)
    assert [column for column in change.clears if getattr(row, column) is not None] == []
    assert (row.finished_at is not None) == (change.target in TERMINAL)
    assert [event.type for event in await scene.events(job)] == ["created", change.event]
    assert await hints(scene) == (["unlearn.cpu"] if change.hints else [])


@pytest.mark.parametrize("change", job_status.CHANGES, ids=lambda change: f"{change.event}-{change.target}")
async def test_a_change_that_the_table_does_not_allow_is_refused_and_leaves_no_trace(
    scene: Scene, change: Change
) -> None:
    for source in sorted(set(STATUSES) - change.sources):
        job = await job_in(scene, source, REQUESTED.get(change))
        before = await scene.row(job)
        with pytest.raises(InvalidChange, match=f"from {source} to {change.target}"):
            await make(scene, job, change)
        assert columns(await scene.row(job)) == columns(before)
        assert await hints(scene) == []


async def test_the_database_refuses_what_the_table_does_not_allow_and_nothing_else(scene: Scene) -> None:
    allowed: dict[str, set[str]] = {}
    refused: dict[tuple[str, str], str] = {}
    change = text("UPDATE jobs SET status = :target, lease_expires_at = :lease WHERE id = :job")
    for source in STATUSES:
        job = await job_in(scene, source, None)
        for target in STATUSES:
            lease = datetime.now(UTC) if target == "running" else None
            async with scene.sessions() as session:
                try:
                    await session.execute(change, {"target": target, "lease": lease, "job": job})
                except IntegrityError as error:
                    refused[source, target] = str(error)
                else:
                    allowed.setdefault(source, set()).add(target)
                await session.rollback()
    assert allowed == {source: {source, *targets} for source, targets in job_status.TRANSITIONS.items()}
    assert all(f"from {source} to {target}" in message for (source, target), message in refused.items())


async def test_a_refusal_of_the_database_is_not_taken_for_a_busy_head(scene: Scene) -> None:
    job = await job_in(scene, "succeeded", None)
    async with scene.sessions() as session:
        row = await session.get_one(JobRow, job)
        set_committed_value(row, "status", "queued")
        with pytest.raises(IntegrityError, match="from succeeded to running"):
            await job_status.start(session, row, worker="w", lease_seconds=30)


@pytest.mark.parametrize("source", ["queued", "paused", "failed"])
async def test_cancelling_ends_only_a_job_that_has_not_ended(scene: Scene, source: Status) -> None:
    """A failed job keeps the time of its failure, and the samples that later jobs of its model have kept."""
    job = await job_in(scene, source, None)
    key = SampleKeyRow(id=new_id("samples"), organisation=scene.organisation, model="demo", wrapped_key=bytes(60))
    async with scene.sessions.begin() as session:
        await session.execute(update(JobRow).where(JobRow.id == job).values(attempts=1))
        session.add(key)
    before = await scene.row(job)
    await make(scene, job, job_status.CANCEL)
    after = await scene.row(job)
    ended = source == "failed"
    assert (after.finished_at == before.finished_at) == ended
    async with scene.sessions() as session:
        assert (await session.get(SampleKeyRow, key.id) is not None) == ended
