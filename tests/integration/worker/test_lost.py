"""Leases that are lost, a database that goes away, and what becomes of the job then."""

import asyncio
import logging
import os

import pytest
from sqlalchemy import text

from core.embedded import Stack
from core.records import checkpoints, completion
from tests.integration.worker.play import WORK, Play
from tests.servers import execute


async def resting(play: Play) -> tuple[str, asyncio.Task[None], int]:
    """A job whose child will do nothing for a minute, and that child's number."""
    pid = play.stage.folder / "pid"
    job, attending = await play.begun(
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\nsay('phase', phase='unlearning')\ntime.sleep(60)"
    )
    return job, attending, int(pid.read_text())


async def test_a_child_whose_fence_is_lost_is_killed_and_nothing_more_is_written(play: Play) -> None:
    job, attending, pid = await resting(play)
    await play.stage.scene.take_back(job)
    taken = await play.stage.scene.row(job)
    await asyncio.wait_for(attending, 30)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    after = await play.stage.scene.row(job)
    assert (after.status, after.fence, after.version) == ("queued", taken.fence, taken.version)


async def test_a_worker_that_cannot_reach_the_database_kills_its_child_before_the_lease_is_over(
    play: Play, stack: Stack
) -> None:
    job, attending, pid = await resting(play)
    name = play.stage.scene.engine.url.database
    await execute(
        stack.superuser_url,
        f"ALTER DATABASE {name} CONNECTION LIMIT 0",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    await asyncio.wait_for(attending, play.stage.settings.lease_seconds + 5)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await execute(stack.superuser_url, f"ALTER DATABASE {name} CONNECTION LIMIT -1")
    assert (await play.stage.scene.row(job)).status == "running"  # the sweeper's to take back


async def test_a_late_worker_cannot_finish_a_job_that_another_has(play: Play) -> None:
    job = await play.stage.job()
    go = play.stage.folder / "go"
    late = await play.attempt(f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n" + WORK)
    attending = asyncio.create_task(late.attend())
    await play.stage.scene.take_back(job)
    await play.stage.scene.due_now(job)
    second = await play.attempt(WORK)
    go.touch()
    await attending
    assert (await play.stage.scene.row(job)).status == "running"
    await second.attend()
    row = await play.stage.scene.row(job)
    assert (row.status, row.attempts) == ("succeeded", 2)
    async with play.stage.scene.sessions() as session:
        (only,) = await checkpoints.list_for_job(session, play.stage.scene.organisation, job)
    assert only.prefix == completion.checkpoint_prefix(job, 3)


async def test_connections_that_break_while_it_works_do_no_harm(play: Play) -> None:
    job = await play.stage.job()
    steps = """
for step in range(40):
    say("progress", step=step, steps=40)
    say("warning", code=str(step), message="x")
    time.sleep(0.05)
"""
    attempt = await play.attempt(steps + WORK)
    attending = asyncio.create_task(attempt.attend())
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    for _ in range(8):
        await asyncio.sleep(0.2)
        async with play.stage.scene.engine.connect() as connection:
            await connection.execute(text(cut + " AND pid <> pg_backend_pid()"))
    await attending
    row = await play.stage.scene.row(job)
    assert (row.status, row.attempts) == ("succeeded", 1), row.error
    assert len(row.warnings) == 40


async def test_a_finish_whose_answer_was_lost_is_not_done_twice(
    play: Play, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finish, calls = completion.finish, []

    async def committed_but_unheard(session, *args, **kwargs):  # type: ignore[no-untyped-def]
        made = await finish(session, *args, **kwargs)
        calls.append(made)
        await session.commit()
        raise ConnectionResetError

    monkeypatch.setattr(completion, "finish", committed_but_unheard)
    with caplog.at_level(logging.INFO):
        row = await play.run(WORK)
    assert (row.status, row.checkpoint) == ("succeeded", calls[0])
    assert vars(caplog.records[-1])["became"] == "succeeded"
    assert (await play.stage.types(row.id)).count("succeeded") == 1
