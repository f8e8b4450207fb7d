"""Each change of a job's status does what the table says of it, and none is made that the table does not allow."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import inspect, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import job_status
from core.records.job_status import Change, InvalidChange
from core.records.tables import JobRow
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
ALLOWED = [(change, source) for change in job_status.CHANGES for source in change.sources if source is not None]


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
        await session.execute(query, {"status": status, "requested": requested, **values})
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
