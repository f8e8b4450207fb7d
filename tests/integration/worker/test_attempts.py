"""What a supervisor makes of children that misbehave, and of what they say.

The child is a real process that speaks the protocol by rote: it is the supervisor that is looked at here.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text, update

from core.records import checkpoints, completion
from core.records.tables import ModelRow
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.manifest import digest, manifest
from core.schema.policies import Verdict
from core.storage import Storage
from tests.integration.records.scene import judgement
from tests.integration.worker.play import WORK, Play
from tests.integration.worker.stage import CANARY, until
from tests.unit.preflight.workloads import llama
from worker import event_recorder


async def test_a_child_that_lives_but_is_silent_is_ended_with_the_reason(play: Play) -> None:
    play.stage.settings = play.stage.settings.model_copy(update={"child_silence_seconds": 0.6, "max_failures": 1})
    row = await play.run("say('phase', phase='unlearning')\ntime.sleep(600)")
    assert (row.status, row.error["code"], row.error["blame"]) == ("failed", "child_silent", "service")
    assert "no sign of life" in row.error["message"]


async def test_a_child_that_says_only_that_it_lives_is_left_to_its_work(play: Play) -> None:
    play.stage.settings = play.stage.settings.model_copy(update={"child_silence_seconds": 2.0})
    row = await play.run("for _ in range(8):\n    say('beat')\n    time.sleep(0.5)\n" + WORK)
    assert (row.status, row.attempts) == ("succeeded", 1)


async def test_a_model_whose_files_are_not_the_registered_ones_any_more_is_not_worked_on(play: Play) -> None:
    directory = play.stage.folder / "registered"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    async with play.stage.scene.sessions.begin() as session:
        values = {"directory": str(directory), "digest": digest(manifest(directory))}
        await session.execute(update(ModelRow).where(ModelRow.id == "demo").values(values))
    assert (await play.run(WORK)).status == "succeeded"
    (directory / "config.json").write_text("[]")
    row = await play.run(WORK)
    assert (row.status, row.failures, row.error["code"]) == ("failed", 1, "model_changed")
    assert (row.error["blame"], row.error["retryable"]) == ("user", False)
    assert "'demo'" in row.error["message"]


async def test_how_far_the_whole_job_is_is_written_down_while_it_measures(play: Play) -> None:
    job, attending = await play.begun(
        "say('phase', phase='unlearning')\n"
        "say('beat', fraction=0.25, eta_seconds=30.0)\n"
        "sys.stdin.readline()\n"
        "say('cancelled')"
    )

    async def told() -> bool:
        row = await play.stage.scene.row(job)
        return (row.fraction, row.eta_seconds, row.step) == (0.25, 30.0, None)

    await until(told)
    await play.wish("cancel", job)
    await asyncio.wait_for(attending, 30)


async def test_a_child_that_does_its_work_succeeds(play: Play) -> None:
    row = await play.run(WORK)
    assert (row.status, row.outcome) == ("succeeded", "unlearned"), row.error
    pieces = [
        piece async for piece in play.stage.storage.read(completion.checkpoint_prefix(row.id, 1) + "/model.safetensors")
    ]
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
    monkeypatch.setattr(event_recorder, "BATCH_SECONDS", 60.0)
    job = await play.stage.job()
    says = "say('progress', step={0}, steps=9)\nsay('curve', step={0}, values={{'loss': 0.5}})\n"
    obeys = "sys.stdin.readline()\nsay('cancelled')\n"
    attending = asyncio.create_task((await play.attempt(says.format(1) + says.format(2) + obeys)).attend())

    async def step() -> int | None:
        return (await play.stage.scene.row(job)).step

    assert await until(step, seconds=20) == 1
    await asyncio.sleep(0.3)
    assert await step() == 1  # the second waits for others
    await play.wish("cancel", job)
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
    await play.stage.storage.write(completion.checkpoint_prefix(second, 1) + "/model.safetensors", other())
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
    id = await play.stage.job(measure=["likelihood"], policy=DEFAULT_POLICY.model_dump(mode="json"))
    await (await play.attempt(script)).attend()
    job = await play.stage.scene.row(id)
    assert (job.status, job.verdict) == ("succeeded", verdict), job.error
    assert job.judgement == judged.model_dump(mode="json")
    async with play.stage.scene.sessions() as session:
        (made,) = await checkpoints.list_for_job(session, play.stage.scene.organisation, job.id)
    assert (made.verdict, made.released) == (verdict, True)  # this scene's model needs no release


async def test_what_an_attempt_that_failed_has_judged_is_nobodys(play: Play) -> None:
    script = f"say('judged', judgement=json.loads({judgement('passed').model_dump_json()!r}))\nsys.exit(1)\n"
    row = await play.run(script)
    assert (row.status, row.verdict, row.judgement) == ("queued", None, None)
    assert "judged" not in await play.stage.types(row.id)
