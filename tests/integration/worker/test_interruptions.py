"""A job that is cancelled, paused, or given back by a worker that shuts down."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from core.records import job_actions
from core.records.events import REQUESTS
from core.records.notifications import Notifications
from core.storage import Storage
from tests.integration.worker.scripted_child import WORK, ScriptedAttempts
from tests.integration.worker.worker_setup import wait_for
from worker import collector, supervisor


async def test_a_child_that_does_not_stop_is_killed(
    scripted: ScriptedAttempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "CANCEL_SECONDS", 0.5)
    job = await scripted.setup.job()
    attempt = await scripted.attempt("say('phase', phase='unlearning')\ntime.sleep(60)")
    attending = asyncio.create_task(attempt.attend())
    await scripted.setup.wait_for_phase(job, "unlearning")
    async with scripted.setup.scene.sessions.begin() as session:
        await job_actions.cancel(session, scripted.setup.scene.organisation, job)
    await asyncio.wait_for(attending, 60)
    row = await scripted.setup.scene.row(job)
    assert (row.status, row.failures) == ("cancelled", 0)


@pytest.mark.parametrize("request_name", ["cancel", "pause"])
async def test_a_request_reaches_a_running_job_without_waiting_for_a_heartbeat(
    scripted: ScriptedAttempts, request_name: str
) -> None:
    scripted.setup.settings = scripted.setup.settings.model_copy(
        update={"lease_seconds": 200.0, "heartbeat_seconds": 100.0}
    )
    scripted.requests = Notifications(
        scripted.setup.scene.engine, REQUESTS, application="test", on_disconnect=lambda _: None
    )
    scripted.requests.start()
    try:
        ending = {"cancel": "say('cancelled')", "pause": "say('paused', step=0)"}[request_name]
        job, attending = await scripted.start(f"say('phase', phase='unlearning')\nsys.stdin.readline()\n{ending}")
        await scripted.request(request_name, job)
        await asyncio.wait_for(attending, 60)
    finally:
        await scripted.requests.stop()
    assert (await scripted.setup.scene.row(job)).status == {"cancel": "cancelled", "pause": "paused"}[request_name]


SAVES_SNAPSHOT = """
say('phase', phase='unlearning')
command = json.loads(sys.stdin.readline())['command']
snapshot = pathlib.Path(spec['snapshots']['folder'], str(spec['fence']), '7')
snapshot.mkdir(parents=True)
(snapshot / 'state.json').write_text(command)
"""
PAUSES = SAVES_SNAPSHOT + "say('snapshot', step=7)\nsay('paused', step=7)\n"


async def test_the_snapshot_of_a_paused_child_is_there_for_the_next_attempt(
    scripted: ScriptedAttempts,
) -> None:
    job, attending = await scripted.start(PAUSES)
    await scripted.request("pause", job)
    await asyncio.wait_for(attending, 60)
    row = await scripted.setup.scene.row(job)
    assert (row.status, row.requested, row.failures, row.worker) == ("paused", None, 0, None)
    assert (await scripted.setup.event_types(job))[-3:] == ["pause_requested", "snapshot", "paused"]
    assert [path.read_text() for path in scripted.setup.scratch_files()] == ["pause"]
    await scripted.request("resume", job)
    check = (
        "assert pathlib.Path(spec['snapshots']['folder'], '1', '7', 'state.json').exists()\nsay('resumed', step=7)\n"
    )
    await (await scripted.attempt(check + WORK)).attend()
    assert (await scripted.setup.scene.row(job)).status == "succeeded"
    assert "resumed" in await scripted.setup.event_types(job)


@pytest.mark.parametrize("by", ["asked", "shutdown"])
async def test_a_job_that_paused_goes_back_to_the_queue_where_no_pause_is_requested_any_more(
    scripted: ScriptedAttempts, by: str
) -> None:
    job, attending = await scripted.start(SAVES_SNAPSHOT + "time.sleep(0.5)\nsay('paused', step=7)\n")
    if by == "asked":
        await scripted.request("pause", job)

        async def has_snapshot() -> bool:
            return scripted.setup.scratch_files() != []

        await wait_for(has_snapshot)
        await scripted.request("resume", job)
    else:
        scripted.shutdown.set()
    await asyncio.wait_for(attending, 60)
    row = await scripted.setup.scene.row(job)
    assert (row.status, row.failures) == ("queued", 0)
    assert (await scripted.setup.scene.events(job))[-1].data == {"reason": by}
    assert [path.read_text() for path in scripted.setup.scratch_files()] == ["pause"]
    await scripted.request("cancel", job)
    await collector.collect_snapshots(scripted.setup.scene.sessions, scripted.setup.scratch, scripted.setup.keys)


async def test_a_pause_that_the_worker_did_not_ask_for_costs_no_failure(scripted: ScriptedAttempts) -> None:
    row = await scripted.run("say('paused', step=0)")
    assert (row.status, row.failures) == ("queued", 0)
    assert (await scripted.setup.scene.events(row.id))[-1].data == {"reason": "terminated"}


async def test_cancelling_a_job_that_is_pausing_does_not_wait_for_the_pause(scripted: ScriptedAttempts) -> None:
    job, attending = await scripted.start(SAVES_SNAPSHOT + "sys.stdin.readline()\nsay('cancelled')\n")
    await scripted.request("pause", job)

    async def has_snapshot() -> bool:
        return scripted.setup.scratch_files() != []

    await wait_for(has_snapshot)
    await scripted.request("cancel", job)
    await asyncio.wait_for(attending, 60)
    assert (await scripted.setup.scene.row(job)).status == "cancelled"  # and its snapshot is gone: see the fixture


async def test_a_pause_after_the_work_is_done_has_no_effect(scripted: ScriptedAttempts) -> None:
    class SlowStorage:
        """A storage that takes a second for each file."""

        def __init__(self, real: Storage) -> None:
            self.read, self._real = real.read, real

        async def write(self, key: str, chunks: AsyncIterator[bytes]) -> int:
            await asyncio.sleep(1.0)
            return await self._real.write(key, chunks)

    job = await scripted.setup.job()
    slow = cast(Storage, SlowStorage(scripted.setup.storage))
    attending = asyncio.create_task(
        (await scripted.attempt("say('phase', phase='saving')\n" + WORK, storage=slow)).attend()
    )
    await scripted.setup.wait_for_phase(job, "saving")
    await scripted.request("pause", job)
    await attending
    row = await scripted.setup.scene.row(job)
    assert (row.status, row.requested) == ("succeeded", None)


async def test_a_shutdown_gives_back_a_job_whose_child_does_not_stop(scripted: ScriptedAttempts) -> None:
    scripted.setup.settings = scripted.setup.settings.model_copy(update={"shutdown_seconds": 0.5})
    job = await scripted.setup.job()
    attempt = await scripted.attempt("say('phase', phase='unlearning')\ntime.sleep(60)")
    attending = asyncio.create_task(attempt.attend())
    await scripted.setup.wait_for_phase(job, "unlearning")
    scripted.shutdown.set()
    await asyncio.wait_for(attending, 60)
    row = await scripted.setup.scene.row(job)
    assert (row.status, row.failures) == ("queued", 0)
