"""Lost leases and a lost database: the child ends, and the job stays consistent."""

import asyncio
import logging
import os

import pytest
from sqlalchemy import text

from core.embedded import Stack
from core.records import checkpoints, completion
from tests.integration.worker.scripted_child import WORK, ScriptedAttempts
from tests.servers import execute


async def start_idle(scripted: ScriptedAttempts) -> tuple[str, asyncio.Task[None], int]:
    """Starts a job whose child does nothing for a minute; returns the job, its attempt and the child's process id."""
    pid = scripted.setup.folder / "pid"
    job, attending = await scripted.start(
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\nsay('phase', phase='unlearning')\ntime.sleep(60)"
    )
    return job, attending, int(pid.read_text())


async def test_a_child_whose_fence_is_lost_is_killed_and_nothing_more_is_written(scripted: ScriptedAttempts) -> None:
    job, attending, pid = await start_idle(scripted)
    await scripted.setup.scene.recover(job)
    taken = await scripted.setup.scene.row(job)
    await asyncio.wait_for(attending, 60)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    after = await scripted.setup.scene.row(job)
    assert (after.status, after.fence, after.version) == ("queued", taken.fence, taken.version)


async def test_a_worker_that_cannot_reach_the_database_kills_its_child_before_the_lease_is_over(
    scripted: ScriptedAttempts, stack: Stack
) -> None:
    job, attending, pid = await start_idle(scripted)
    name = scripted.setup.scene.engine.url.database
    await execute(
        stack.superuser_url,
        f"ALTER DATABASE {name} CONNECTION LIMIT 0",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    await asyncio.wait_for(attending, scripted.setup.settings.lease_seconds + 30)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await execute(stack.superuser_url, f"ALTER DATABASE {name} CONNECTION LIMIT -1")
    assert (await scripted.setup.scene.row(job)).status == "running"  # until the sweeper takes it back


async def test_a_late_worker_cannot_finish_a_job_that_another_worker_has(scripted: ScriptedAttempts) -> None:
    job = await scripted.setup.job()
    go = scripted.setup.folder / "go"
    late = await scripted.attempt(f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n" + WORK)
    attending = asyncio.create_task(late.attend())
    await scripted.setup.scene.recover(job)
    await scripted.setup.scene.end_delay(job)
    second = await scripted.attempt(WORK)
    go.touch()
    await attending
    assert (await scripted.setup.scene.row(job)).status == "running"
    await second.attend()
    row = await scripted.setup.scene.row(job)
    assert (row.status, row.attempts) == ("succeeded", 2)
    async with scripted.setup.scene.sessions() as session:
        (checkpoint,) = await checkpoints.list_for_job(session, scripted.setup.scene.organisation, job)
    assert checkpoint.prefix == completion.checkpoint_prefix(job, 3)


async def test_connections_that_break_during_the_work_do_no_harm(scripted: ScriptedAttempts) -> None:
    job = await scripted.setup.job()
    steps = """
for step in range(40):
    say("progress", step=step, steps=40)
    say("warning", code=str(step), message="x")
    time.sleep(0.05)
"""
    attempt = await scripted.attempt(steps + WORK)
    attending = asyncio.create_task(attempt.attend())
    # of this user alone: an autovacuum worker of the database may be ended by a superuser only
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user"
    for _ in range(8):
        await asyncio.sleep(0.2)
        async with scripted.setup.scene.engine.connect() as connection:
            await connection.execute(text(cut + " AND datname = current_database() AND pid <> pg_backend_pid()"))
    await attending
    row = await scripted.setup.scene.row(job)
    assert (row.status, row.attempts) == ("succeeded", 1), row.error
    assert len(row.warnings) == 40


async def test_a_finish_whose_answer_was_lost_is_not_done_twice(
    scripted: ScriptedAttempts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finish_all, calls = completion.finish_all, []

    async def commit_and_lose_the_answer(session, *args, **kwargs):  # type: ignore[no-untyped-def]
        calls.extend(await finish_all(session, *args, **kwargs))
        await session.commit()
        raise ConnectionResetError

    monkeypatch.setattr(completion, "finish_all", commit_and_lose_the_answer)
    with caplog.at_level(logging.INFO):
        row = await scripted.run(WORK)
    assert (row.status, [row.checkpoint]) == ("succeeded", calls)
    assert vars(caplog.records[-1])["became"] == "succeeded"
    assert (await scripted.setup.event_types(row.id)).count("succeeded") == 1
