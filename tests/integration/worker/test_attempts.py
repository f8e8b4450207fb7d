"""What a supervisor makes of children that misbehave, leases that are lost and a database that goes away.

The child is a real process that speaks the protocol by rote: it is the supervisor that is looked at here.
"""

import asyncio
import logging
import os
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import pytest
import pytest_asyncio
from sqlalchemy import text, update

from core.embedded import Stack
from core.records import checkpoints, finishing, jobs, wishes
from core.records.tables import JobRow, ModelRow
from core.schema.default_policy import DEFAULT
from core.schema.policies import Verdict
from core.storage import Storage
from tests.integration.records.scene import judgement
from tests.integration.worker.stage import CANARY, Stage, until
from tests.servers import execute
from tests.unit.preflight.works import llama
from worker import collector, recorder, supervisor
from worker.launch import Machine
from worker.stopping import Stopping
from worker.supervisor import Attempt, claim

PRELUDE = f"""
import json, os, pathlib, signal, socket, sys, time
spec = json.loads(sys.stdin.readline())
def say(kind, **values):
    print(json.dumps({{"kind": kind, **values}}), flush=True)
def records():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(spec["records"]["path"])
        connection.sendall(spec["records"]["token"].encode() + b"\\n")
        return [json.loads(line) for line in connection.makefile("rb")]
def save():
    output = pathlib.Path(spec["output"])
    output.mkdir()
    (output / "model.safetensors").write_bytes(b"weights")
    say("saved", directory=str(output), step=3)
CANARY = {CANARY!r}
"""


@dataclass
class Play:
    stage: Stage
    stopping: Stopping
    machine: Machine

    async def attempt(self, script: str, *, storage: Storage | None = None) -> Attempt:
        """An attempt at the next job whose child follows the script."""
        claimed = await claim(
            self.stage.scene.sessions, worker="play", gpus=0, lease_seconds=self.stage.settings.lease_seconds
        )
        assert claimed is not None
        job, since = claimed
        devices = self.machine.take(0)
        assert devices is not None
        return Attempt(
            job,
            devices,
            since=since,
            sessions=self.stage.scene.sessions,
            storage=storage or self.stage.storage,
            settings=self.stage.settings,
            threads=1,
            stopping=self.stopping,
            command=(sys.executable, "-c", PRELUDE + textwrap.dedent(script)),
        )

    async def run(self, script: str, *, storage: Storage | None = None) -> JobRow:
        """A job, an attempt at it to its end, and what became of the job."""
        job = await self.stage.job()
        attempt = await self.attempt(script, storage=storage)
        await attempt.attend()
        return await self.stage.scene.row(job)


@pytest_asyncio.fixture
async def play(stage: Stage) -> AsyncIterator[Play]:
    machine = Machine(gpus=(), cpu_slots=4, lock_dir=stage.folder)
    yield Play(stage, Stopping(), machine)
    assert stage.left_in_scratch() == []


WORK = """
assert [one["name"] for one in records()] == ["forget"]
save()
say("done", outcome="unlearned")
"""


async def test_a_child_that_does_its_work_succeeds(play: Play) -> None:
    row = await play.run(WORK)
    assert (row.status, row.outcome) == ("succeeded", "unlearned"), row.error
    pieces = [piece async for piece in play.stage.storage.read(finishing.prefix_of(row.id, 1) + "/model.safetensors")]
    assert b"".join(pieces) == b"weights"


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("sys.exit(7)", "child_died", "code 7"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "child_died", "SIGSEGV"),
        ("say('phase', phase='loading')", "child_died", "code 0"),
        ("save(); os._exit(0)", "child_died", "code 0"),
        ("print('Loading ' + CANARY, flush=True); time.sleep(60)", "child_garbled", "not an event"),
        ("say('done', outcome='unlearned')", "nothing_saved", "without saving"),
        ("say('saved', directory='/etc', step=1); say('done', outcome='unlearned')", "nothing_saved", "none"),
        ("say('cancelled')", "child_stopped", "without having been asked"),
    ],
)
async def test_a_child_that_does_not_is_tried_again(play: Play, script: str, code: str, words: str) -> None:
    row = await play.run(script)
    assert (row.status, row.failures, row.fence) == ("queued", 1, 2)
    requeued = (await play.stage.scene.events(row.id))[-1]
    assert requeued.data == {"reason": code}
    await play.stage.scene.due_now(row.id)
    await (await play.attempt(script)).attend()
    row = await play.stage.scene.row(row.id)
    assert row.status == "failed"
    assert row.error is not None
    assert row.error["code"] == code
    assert words in row.error["message"]
    assert row.error["blame"] == "service"


async def test_a_child_that_knows_why_it_failed_is_believed(play: Play) -> None:
    row = await play.run(
        """
        error = {"code": "bad_model", "message": "no", "blame": "user", "retryable": False}
        say("failed", error=error)
        sys.exit(3)
        """
    )
    assert (row.status, row.failures) == ("failed", 1)
    assert row.error == {"code": "bad_model", "message": "no", "blame": "user", "retryable": False}


async def test_what_a_dying_child_says_on_standard_error_is_not_logged(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    await play.run(
        f"def where():\n    raise ValueError('about ' + CANARY)\nprint('{CANARY}', file=sys.stderr)\nwhere()"
    )
    (line,) = [record for record in caplog.records if record.getMessage() == "child died"]
    frames: list[str] = vars(line)["frames"]
    assert frames[-1] == "ValueError"
    assert frames[-2].endswith(" where")
    assert CANARY not in str([vars(record) for record in caplog.records])


async def test_a_child_that_floods_standard_error_does_not_block(play: Play) -> None:
    assert (await play.run("sys.stderr.write('x' * 5_000_000)\n" + WORK)).status == "succeeded"


async def test_a_child_that_leaves_a_grandchild_holding_its_pipes_ends_all_the_same(play: Play) -> None:
    began = time.monotonic()
    grandchild = "import subprocess\nsubprocess.Popen(['sleep', '60'])\n"
    assert (await play.run(grandchild + WORK)).status == "succeeded"
    assert (await play.run(grandchild + "os._exit(1)")).failures == 1
    assert time.monotonic() - began < 30


async def test_curves_come_in_batches_and_the_last_points_are_kept(play: Play) -> None:
    steps = """
for step in range(1, 301):
    say("progress", step=step, steps=300, eta_seconds=0.0)
    say("curve", step=step, values={"loss": 1.0 / step})
"""
    row = await play.run(steps + WORK)
    assert row.status == "succeeded"
    async with play.stage.scene.sessions() as session:
        points = await checkpoints.curves(session, row.id)
    assert [point.step for point in points] == [1, 2, 3]  # the checkpoint is of step 3
    assert row.version < 20


async def test_the_first_update_is_written_at_once(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "BATCH_SECONDS", 60.0)
    job = await play.stage.job()
    says = "say('progress', step={0}, steps=9)\nsay('curve', step={0}, values={{'loss': 0.5}})\n"
    obeys = "sys.stdin.readline()\nsay('cancelled')\n"
    attending = asyncio.create_task((await play.attempt(says.format(1) + says.format(2) + obeys)).attend())

    async def step() -> int | None:
        return (await play.stage.scene.row(job)).step

    assert await until(step, seconds=20) == 1
    await asyncio.sleep(0.3)
    assert await step() == 1  # the second waits for others
    await wish(play, "cancel", job)
    await attending


async def test_out_of_memory_a_job_is_told_what_would_take_less(play: Play) -> None:
    name = await play.stage.scene.model("eight", directory=str(play.stage.folder))
    shape = llama().model_dump(mode="json")
    async with play.stage.scene.sessions.begin() as session:
        await session.execute(update(ModelRow).where(ModelRow.id == name).values(shape=shape))
    job = await play.stage.job(model=name)
    dies = "say('phase', phase='unlearning')\nsay('failed', error={'code': 'out_of_memory', 'message': 'it was short',"
    await (await play.attempt(dies + " 'blame': 'user', 'retryable': False})")).attend()
    row = await play.stage.scene.row(job)
    assert (row.status, row.error["code"]) == ("failed", "out_of_memory")
    assert row.error["message"].startswith("it was short; it was expected to take ")
    assert "training.lora = {}" in row.error["message"]


async def test_the_curves_of_an_attempt_that_failed_are_kept_to_their_end(play: Play) -> None:
    row = await play.run(
        """
        say("progress", step=1, steps=9)
        say("curve", step=1, values={"loss": 0.5})
        say("failed", error={"code": "not_finite", "message": "x", "blame": "user", "retryable": False})
        """
    )
    assert row.status == "failed"
    async with play.stage.scene.sessions() as session:
        assert [point.value for point in await checkpoints.curves(session, row.id)] == [0.5]


async def test_a_child_that_will_not_stop_is_killed(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "CANCEL_SECONDS", 0.5)
    job = await play.stage.job()
    attempt = await play.attempt("say('phase', phase='unlearning')\ntime.sleep(60)")
    attending = asyncio.create_task(attempt.attend())
    await play.stage.until_phase(job, "unlearning")
    async with play.stage.scene.sessions.begin() as session:
        await jobs.cancel(session, play.stage.scene.organisation, job)
    await asyncio.wait_for(attending, 30)
    row = await play.stage.scene.row(job)
    assert (row.status, row.failures) == ("cancelled", 0)


OBEYS = """
say('phase', phase='unlearning')
wish = json.loads(sys.stdin.readline())['command']
kept = pathlib.Path(spec['snapshots'], str(spec['fence']), '7')
kept.mkdir(parents=True)
(kept / 'state.json').write_text(wish)
"""
PAUSES = OBEYS + "say('snapshot', step=7)\nsay('paused', step=7)\n"


async def begun(play: Play, script: str) -> tuple[str, asyncio.Task[None]]:
    """A job whose child is training by this script."""
    job = await play.stage.job()
    attending = asyncio.create_task((await play.attempt(script)).attend())
    await play.stage.until_phase(job, "unlearning")
    return job, attending


async def wish(play: Play, name: str, job: str) -> None:
    async with play.stage.scene.sessions.begin() as session:
        await getattr(jobs if name == "cancel" else wishes, name)(session, play.stage.scene.organisation, job)


async def test_a_child_that_is_told_to_pause_leaves_its_snapshot_and_the_next_attempt_finds_it(play: Play) -> None:
    job, attending = await begun(play, PAUSES)
    await wish(play, "pause", job)
    await asyncio.wait_for(attending, 30)
    row = await play.stage.scene.row(job)
    assert (row.status, row.requested, row.failures, row.worker) == ("paused", None, 0, None)
    assert (await play.stage.types(job))[-3:] == ["pause_requested", "snapshot", "paused"]
    assert [path.read_text() for path in play.stage.left_in_scratch()] == ["pause"]
    await wish(play, "resume", job)
    found = "assert pathlib.Path(spec['snapshots'], '1', '7', 'state.json').exists()\nsay('resumed', step=7)\n"
    await (await play.attempt(found + WORK)).attend()
    assert (await play.stage.scene.row(job)).status == "succeeded"
    assert "resumed" in await play.stage.types(job)


@pytest.mark.parametrize("by", ["asked", "shutdown"])
async def test_a_child_that_pauses_goes_back_to_the_queue_where_nobody_wishes_it_any_more(play: Play, by: str) -> None:
    job, attending = await begun(play, OBEYS + "time.sleep(0.5)\nsay('paused', step=7)\n")
    if by == "asked":
        await wish(play, "pause", job)

        async def heard() -> bool:
            return play.stage.left_in_scratch() != []

        await until(heard)
        await wish(play, "resume", job)
    else:
        play.stopping.begin()
    await asyncio.wait_for(attending, 30)
    row = await play.stage.scene.row(job)
    assert (row.status, row.failures) == ("queued", 0)
    assert (await play.stage.scene.events(job))[-1].data == {"reason": by}
    assert [path.read_text() for path in play.stage.left_in_scratch()] == ["pause"]
    await wish(play, "cancel", job)
    await collector.collect_snapshots(play.stage.scene.sessions, play.stage.scratch)


async def test_a_child_that_somebody_else_told_to_pause_costs_no_failure(play: Play) -> None:
    row = await play.run("say('paused', step=0)")
    assert (row.status, row.failures) == ("queued", 0)
    assert (await play.stage.scene.events(row.id))[-1].data == {"reason": "terminated"}


async def test_cancelling_a_job_that_is_pausing_does_not_wait_for_the_pause(play: Play) -> None:
    job, attending = await begun(play, OBEYS + "sys.stdin.readline()\nsay('cancelled')\n")
    await wish(play, "pause", job)

    async def heard() -> bool:
        return play.stage.left_in_scratch() != []

    await until(heard)
    await wish(play, "cancel", job)
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
    await wish(play, "pause", job)
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


async def test_a_child_whose_fence_is_lost_is_killed_and_nothing_more_is_written(play: Play) -> None:
    job = await play.stage.job()
    pid = play.stage.folder / "pid"
    attempt = await play.attempt(
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\nsay('phase', phase='unlearning')\ntime.sleep(60)"
    )
    attending = asyncio.create_task(attempt.attend())
    await play.stage.until_phase(job, "unlearning")
    await play.stage.scene.take_back(job)
    taken = await play.stage.scene.row(job)
    await asyncio.wait_for(attending, 30)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    after = await play.stage.scene.row(job)
    assert (after.status, after.fence, after.version) == ("queued", taken.fence, taken.version)


async def test_a_worker_that_cannot_reach_the_database_kills_its_child_before_the_lease_is_over(
    play: Play, stack: Stack
) -> None:
    job = await play.stage.job()
    pid = play.stage.folder / "pid"
    attempt = await play.attempt(
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\nsay('phase', phase='unlearning')\ntime.sleep(60)"
    )
    attending = asyncio.create_task(attempt.attend())
    await play.stage.until_phase(job, "unlearning")
    name = play.stage.scene.engine.url.database
    await execute(
        stack.superuser_url,
        f"ALTER DATABASE {name} CONNECTION LIMIT 0",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    await asyncio.wait_for(attending, 30)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
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
        (only,) = await checkpoints.of_job(session, play.stage.scene.organisation, job)
    assert only.prefix == finishing.prefix_of(job, 3)


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
    finish, calls = finishing.finish, []

    async def committed_but_unheard(session, *args, **kwargs):  # type: ignore[no-untyped-def]
        made = await finish(session, *args, **kwargs)
        calls.append(made)
        await session.commit()
        raise ConnectionResetError

    monkeypatch.setattr(finishing, "finish", committed_but_unheard)
    with caplog.at_level(logging.INFO):
        row = await play.run(WORK)
    assert (row.status, row.checkpoint) == ("succeeded", calls[0])
    assert vars(caplog.records[-1])["became"] == "succeeded"
    assert (await play.stage.types(row.id)).count("succeeded") == 1


async def test_files_that_are_gone_fail_the_job_and_say_so(play: Play) -> None:
    job = await play.stage.job()
    async with play.stage.scene.sessions() as session:
        (key,) = list(await session.scalars(text("SELECT storage_key FROM files")))
    await play.stage.storage.delete(key)
    await (await play.attempt("records()\n" + WORK)).attend()
    row = await play.stage.scene.row(job)
    assert row.status == "failed"
    assert row.error is not None
    assert (row.error["code"], row.error["retryable"]) == ("file_gone", False)


async def test_a_checkpoint_to_start_from_is_checked_before_anybody_starts_from_it(play: Play) -> None:
    first = await play.stage.job(start="head")
    await (await play.attempt(WORK)).attend()
    second = await play.stage.job(start="head")
    told = "assert pathlib.Path(spec['directory'], 'model.safetensors').read_bytes() == b'weights'\n"
    await (await play.attempt(told + WORK)).attend()
    assert (await play.stage.scene.row(second)).status == "succeeded"

    async def other() -> AsyncIterator[bytes]:
        yield b"wrong!!"

    third = await play.stage.job(start="head")
    await play.stage.storage.write(finishing.prefix_of(second, 1) + "/model.safetensors", other())
    await (await play.attempt(WORK)).attend()
    assert (await play.stage.scene.events(third))[-1].data == {"reason": "checkpoint_damaged"}
    assert (await play.stage.scene.row(first)).status == "succeeded"


async def test_a_storage_that_fails_costs_an_attempt_and_not_the_job(play: Play) -> None:
    class Full:
        """The edge of the world: a store that takes nothing more."""

        def __init__(self, real: Storage) -> None:
            self.read = real.read

        async def write(self, key: str, chunks: AsyncIterator[bytes]) -> int:
            raise OSError(28, "No space left on device")

    row = await play.run(WORK, storage=Full(play.stage.storage))  # type: ignore[arg-type]
    assert (row.status, row.failures) == ("queued", 1)
    assert (await play.stage.scene.events(row.id))[-1].data == {"reason": "service_unreachable"}


async def test_a_child_sees_its_devices_and_none_of_the_workers_secrets(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret-of-the-worker")
    out = play.stage.folder / "environment"
    await play.run(f"pathlib.Path({str(out)!r}).write_text(json.dumps(dict(os.environ)))\n" + WORK)
    seen = out.read_text()
    assert "secret-of-the-worker" not in seen
    assert '"CUDA_VISIBLE_DEVICES": ""' in seen


JUDGED = """
assert spec["measure"] == ["likelihood"]
assert spec["policy"]["name"] == "default"
say("judged", judgement=json.loads(VERDICT))
"""


@pytest.mark.parametrize("verdict", ["passed", "failed"])
async def test_what_the_child_judges_stands_on_job_and_checkpoint(play: Play, verdict: Verdict) -> None:
    judged = judgement(verdict)
    script = f"VERDICT = {judged.model_dump_json()!r}\n" + JUDGED + WORK
    id = await play.stage.job(measure=["likelihood"], policy=DEFAULT.model_dump(mode="json"))
    await (await play.attempt(script)).attend()
    job = await play.stage.scene.row(id)
    assert (job.status, job.verdict) == ("succeeded", verdict), job.error
    assert job.judgement == judged.model_dump(mode="json")
    async with play.stage.scene.sessions() as session:
        (made,) = await checkpoints.of_job(session, play.stage.scene.organisation, job.id)
    assert (made.verdict, made.released) == (verdict, True)  # this scene's model needs no release


async def test_what_an_attempt_that_failed_has_judged_is_nobodys(play: Play) -> None:
    script = f"say('judged', judgement=json.loads({judgement('passed').model_dump_json()!r}))\nsys.exit(1)\n"
    row = await play.run(script)
    assert (row.status, row.verdict, row.judgement) == ("queued", None, None)
    assert "judged" not in await play.stage.types(row.id)
