"""A job that is cancelled, paused, or given back by a worker that shuts down."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from core.records import job_actions
from core.records.events import REQUESTS
from core.records.notifications import Notifications
from core.storage import Storage
from tests.integration.worker.play import WORK, Play
from tests.integration.worker.stage import until
from worker import collector, supervisor


async def test_a_child_that_will_not_stop_is_killed(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "CANCEL_SECONDS", 0.5)
    job = await play.stage.job()
    attempt = await play.attempt("say('phase', phase='unlearning')\ntime.sleep(60)")
    attending = asyncio.create_task(attempt.attend())
    await play.stage.until_phase(job, "unlearning")
    async with play.stage.scene.sessions.begin() as session:
        await job_actions.cancel(session, play.stage.scene.organisation, job)
    await asyncio.wait_for(attending, 30)
    row = await play.stage.scene.row(job)
    assert (row.status, row.failures) == ("cancelled", 0)


@pytest.mark.parametrize("request_name", ["cancel", "pause"])
async def test_a_request_reaches_a_running_job_without_waiting_for_a_heartbeat(play: Play, request_name: str) -> None:
    play.stage.settings = play.stage.settings.model_copy(update={"lease_seconds": 200.0, "heartbeat_seconds": 100.0})
    play.requests = Notifications(play.stage.scene.engine, REQUESTS, application="test", on_disconnect=lambda _: None)
    play.requests.start()
    try:
        ends = {"cancel": "say('cancelled')", "pause": "say('paused', step=0)"}[request_name]
        job, attending = await play.begun(f"say('phase', phase='unlearning')\nsys.stdin.readline()\n{ends}")
        await play.wish(request_name, job)
        await asyncio.wait_for(attending, 30)
    finally:
        await play.requests.stop()
    assert (await play.stage.scene.row(job)).status == {"cancel": "cancelled", "pause": "paused"}[request_name]


OBEYS = """
say('phase', phase='unlearning')
wish = json.loads(sys.stdin.readline())['command']
kept = pathlib.Path(spec['snapshots'], str(spec['fence']), '7')
kept.mkdir(parents=True)
(kept / 'state.json').write_text(wish)
"""
PAUSES = OBEYS + "say('snapshot', step=7)\nsay('paused', step=7)\n"


async def test_a_child_that_is_told_to_pause_leaves_its_snapshot_and_the_next_attempt_finds_it(play: Play) -> None:
    job, attending = await play.begun(PAUSES)
    await play.wish("pause", job)
    await asyncio.wait_for(attending, 30)
    row = await play.stage.scene.row(job)
    assert (row.status, row.requested, row.failures, row.worker) == ("paused", None, 0, None)
    assert (await play.stage.types(job))[-3:] == ["pause_requested", "snapshot", "paused"]
    assert [path.read_text() for path in play.stage.left_in_scratch()] == ["pause"]
    await play.wish("resume", job)
    found = "assert pathlib.Path(spec['snapshots'], '1', '7', 'state.json').exists()\nsay('resumed', step=7)\n"
    await (await play.attempt(found + WORK)).attend()
    assert (await play.stage.scene.row(job)).status == "succeeded"
    assert "resumed" in await play.stage.types(job)


@pytest.mark.parametrize("by", ["asked", "shutdown"])
async def test_a_child_that_pauses_goes_back_to_the_queue_where_nobody_wishes_it_any_more(play: Play, by: str) -> None:
    job, attending = await play.begun(OBEYS + "time.sleep(0.5)\nsay('paused', step=7)\n")
    if by == "asked":
        await play.wish("pause", job)

        async def heard() -> bool:
            return play.stage.left_in_scratch() != []

        await until(heard)
        await play.wish("resume", job)
    else:
        play.stopping.begin()
    await asyncio.wait_for(attending, 30)
    row = await play.stage.scene.row(job)
    assert (row.status, row.failures) == ("queued", 0)
    assert (await play.stage.scene.events(job))[-1].data == {"reason": by}
    assert [path.read_text() for path in play.stage.left_in_scratch()] == ["pause"]
    await play.wish("cancel", job)
    await collector.collect_snapshots(play.stage.scene.sessions, play.stage.scratch)


async def test_a_child_that_somebody_else_told_to_pause_costs_no_failure(play: Play) -> None:
    row = await play.run("say('paused', step=0)")
    assert (row.status, row.failures) == ("queued", 0)
    assert (await play.stage.scene.events(row.id))[-1].data == {"reason": "terminated"}


async def test_cancelling_a_job_that_is_pausing_does_not_wait_for_the_pause(play: Play) -> None:
    job, attending = await play.begun(OBEYS + "sys.stdin.readline()\nsay('cancelled')\n")
    await play.wish("pause", job)

    async def heard() -> bool:
        return play.stage.left_in_scratch() != []

    await until(heard)
    await play.wish("cancel", job)
    await asyncio.wait_for(attending, 30)
    assert (await play.stage.scene.row(job)).status == "cancelled"  # and its snapshot is gone: see the fixture


async def test_a_pause_that_comes_when_the_work_is_done_comes_too_late(play: Play) -> None:
    class Slow:
        """The edge of the world: a store that takes its time."""

        def __init__(self, real: Storage) -> None:
            self.read, self._real = real.read, real

        async def write(self, key: str, chunks: AsyncIterator[bytes]) -> int:
            await asyncio.sleep(1.0)
            return await self._real.write(key, chunks)

    job = await play.stage.job()
    slow = cast(Storage, Slow(play.stage.storage))
    attending = asyncio.create_task(
        (await play.attempt("say('phase', phase='saving')\n" + WORK, storage=slow)).attend()
    )
    await play.stage.until_phase(job, "saving")
    await play.wish("pause", job)
    await attending
    row = await play.stage.scene.row(job)
    assert (row.status, row.requested) == ("succeeded", None)


async def test_a_shutdown_gives_back_what_will_not_stop(play: Play) -> None:
    play.stage.settings = play.stage.settings.model_copy(update={"shutdown_seconds": 0.5})
    job = await play.stage.job()
    attempt = await play.attempt("say('phase', phase='unlearning')\ntime.sleep(60)")
    attending = asyncio.create_task(attempt.attend())
    await play.stage.until_phase(job, "unlearning")
    play.stopping.begin()
    await asyncio.wait_for(attending, 30)
    row = await play.stage.scene.row(job)
    assert (row.status, row.failures) == ("queued", 0)
