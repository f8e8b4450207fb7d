"""The supervisor's treatment of its child's events, and of children that misbehave.

The child is a real process that follows a script of the protocol.
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
from core.schema.verdict_parts import Verdict
from core.storage import Storage
from tests.integration.records.scene import judgement
from tests.integration.worker.scripted_child import WORK, ScriptedAttempts
from tests.integration.worker.worker_setup import CANARY, wait_for
from tests.unit.preflight.workloads import llama
from worker import event_recorder


async def test_a_silent_child_is_ended_and_the_job_says_why(scripted: ScriptedAttempts) -> None:
    scripted.setup.settings = scripted.setup.settings.model_copy(
        update={"child_silence_seconds": 0.6, "max_failures": 1}
    )
    row = await scripted.run("say('phase', phase='unlearning')\ntime.sleep(600)")
    assert (row.status, row.error["code"], row.error["blame"]) == ("failed", "child_silent", "service")
    assert "no sign of life" in row.error["message"]


async def test_a_child_that_sends_only_heartbeats_may_work_on(scripted: ScriptedAttempts) -> None:
    scripted.setup.settings = scripted.setup.settings.model_copy(update={"child_silence_seconds": 2.0})
    row = await scripted.run("for _ in range(8):\n    say('beat')\n    time.sleep(0.5)\n" + WORK)
    assert (row.status, row.attempts) == ("succeeded", 1)


async def test_a_model_whose_files_changed_after_registration_is_refused(
    scripted: ScriptedAttempts,
) -> None:
    directory = scripted.setup.folder / "registered"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    async with scripted.setup.scene.sessions.begin() as session:
        values = {"directory": str(directory), "digest": digest(manifest(directory))}
        await session.execute(update(ModelRow).where(ModelRow.id == "demo").values(values))
    assert (await scripted.run(WORK)).status == "succeeded"
    (directory / "config.json").write_text("[]")
    row = await scripted.run(WORK)
    assert (row.status, row.failures, row.error["code"]) == ("failed", 1, "model_changed")
    assert (row.error["blame"], row.error["retryable"]) == ("user", False)
    assert "'demo'" in row.error["message"]


async def test_the_overall_progress_of_a_job_is_written_while_it_measures(scripted: ScriptedAttempts) -> None:
    job, attending = await scripted.start(
        "say('phase', phase='unlearning')\n"
        "say('beat', fraction=0.25, eta_seconds=30.0)\n"
        "sys.stdin.readline()\n"
        "say('cancelled')"
    )

    async def is_written() -> bool:
        row = await scripted.setup.scene.row(job)
        return (row.fraction, row.eta_seconds, row.step) == (0.25, 30.0, None)

    await wait_for(is_written)
    await scripted.request("cancel", job)
    await asyncio.wait_for(attending, 60)


async def test_a_job_whose_child_does_its_work_succeeds(scripted: ScriptedAttempts) -> None:
    row = await scripted.run(WORK)
    assert (row.status, row.outcome) == ("succeeded", "unlearned"), row.error
    key = completion.checkpoint_prefix(row.id, 1) + "/model.safetensors"
    assert b"".join([chunk async for chunk in scripted.setup.storage.read(key)]) == b"weights"


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
async def test_a_job_whose_child_misbehaves_is_tried_again_and_then_fails(
    scripted: ScriptedAttempts, script: str, code: str, words: str
) -> None:
    row = await scripted.run(script)
    assert (row.status, row.failures, row.fence) == ("queued", 1, 2)
    requeued = (await scripted.setup.scene.events(row.id))[-1]
    assert requeued.data == {"reason": code}
    await scripted.setup.scene.end_delay(row.id)
    await (await scripted.attempt(script)).attend()
    row = await scripted.setup.scene.row(row.id)
    assert row.status == "failed"
    assert row.error is not None
    assert row.error["code"] == code
    assert words in row.error["message"]
    assert row.error["blame"] == "service"


async def test_an_error_that_the_child_reports_becomes_the_jobs_error(scripted: ScriptedAttempts) -> None:
    row = await scripted.run(
        """
        error = {"code": "bad_model", "message": "no", "blame": "user", "retryable": False}
        say("failed", error=error)
        sys.exit(3)
        """
    )
    assert (row.status, row.failures) == ("failed", 1)
    assert row.error == {"code": "bad_model", "message": "no", "blame": "user", "retryable": False}


async def test_of_a_dying_childs_standard_error_only_frames_and_classes_are_logged(
    scripted: ScriptedAttempts, caplog: pytest.LogCaptureFixture
) -> None:
    await scripted.run(
        f"def where():\n    raise ValueError('about ' + CANARY)\nprint('{CANARY}', file=sys.stderr)\nwhere()"
    )
    (line,) = [record for record in caplog.records if record.getMessage() == "child died"]
    frames: list[str] = vars(line)["frames"]
    assert frames[-1] == "ValueError"
    assert frames[-2].endswith(" where")
    assert CANARY not in str([vars(record) for record in caplog.records])


async def test_a_child_that_floods_standard_error_does_not_block(scripted: ScriptedAttempts) -> None:
    assert (await scripted.run("sys.stderr.write('x' * 5_000_000)\n" + WORK)).status == "succeeded"


async def test_a_child_whose_grandchild_holds_its_pipes_still_ends(scripted: ScriptedAttempts) -> None:
    began = time.monotonic()
    grandchild = "import subprocess\nsubprocess.Popen(['sleep', '60'])\n"
    assert (await scripted.run(grandchild + WORK)).status == "succeeded"
    assert (await scripted.run(grandchild + "os._exit(1)")).failures == 1
    assert time.monotonic() - began < 30


async def test_curves_come_in_batches_and_the_last_points_are_kept(scripted: ScriptedAttempts) -> None:
    steps = """
for step in range(1, 301):
    say("progress", step=step, steps=300, eta_seconds=0.0)
    say("curve", step=step, values={"loss": 1.0 / step})
"""
    row = await scripted.run(steps + WORK)
    assert row.status == "succeeded"
    async with scripted.setup.scene.sessions() as session:
        points = await checkpoints.curves(session, row.id)
    assert [point.step for point in points] == [1, 2, 3]  # the checkpoint is of step 3
    assert row.version < 20


async def test_the_first_update_is_written_at_once(scripted: ScriptedAttempts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_recorder, "BATCH_SECONDS", 60.0)
    job = await scripted.setup.job()
    update_script = "say('progress', step={0}, steps=9)\nsay('curve', step={0}, values={{'loss': 0.5}})\n"
    ending = "sys.stdin.readline()\nsay('cancelled')\n"
    attending = asyncio.create_task(
        (await scripted.attempt(update_script.format(1) + update_script.format(2) + ending)).attend()
    )

    async def step() -> int | None:
        return (await scripted.setup.scene.row(job)).step

    assert await wait_for(step, seconds=40) == 1
    await asyncio.sleep(0.3)
    assert await step() == 1  # the second waits for its batch
    await scripted.request("cancel", job)
    await attending


async def test_an_out_of_memory_error_names_changes_that_would_take_less(scripted: ScriptedAttempts) -> None:
    name = await scripted.setup.scene.model("eight", directory=str(scripted.setup.folder))
    shape = llama().model_dump(mode="json")
    async with scripted.setup.scene.sessions.begin() as session:
        await session.execute(update(ModelRow).where(ModelRow.id == name).values(shape=shape))
    job = await scripted.setup.job(model=name)
    script = (
        "say('phase', phase='unlearning')\nsay('failed', error={'code': 'out_of_memory', 'message': 'it was short',"
    )
    await (await scripted.attempt(script + " 'blame': 'user', 'retryable': False})")).attend()
    row = await scripted.setup.scene.row(job)
    assert (row.status, row.error["code"]) == ("failed", "out_of_memory")
    assert row.error["message"].startswith("it was short; it was expected to take ")
    assert "training.lora = {}" in row.error["message"]


async def test_the_curves_of_a_failed_attempt_are_kept_to_their_end(scripted: ScriptedAttempts) -> None:
    row = await scripted.run(
        """
        say("progress", step=1, steps=9)
        say("curve", step=1, values={"loss": 0.5})
        say("failed", error={"code": "not_finite", "message": "x", "blame": "user", "retryable": False})
        """
    )
    assert row.status == "failed"
    async with scripted.setup.scene.sessions() as session:
        assert [point.value for point in await checkpoints.curves(session, row.id)] == [0.5]


async def test_a_job_whose_files_are_gone_fails_and_says_so(scripted: ScriptedAttempts) -> None:
    job = await scripted.setup.job()
    async with scripted.setup.scene.sessions() as session:
        (key,) = list(await session.scalars(text("SELECT storage_key FROM files")))
    await scripted.setup.storage.delete(key)
    await (await scripted.attempt("records()\n" + WORK)).attend()
    row = await scripted.setup.scene.row(job)
    assert row.status == "failed"
    assert row.error is not None
    assert (row.error["code"], row.error["retryable"]) == ("file_gone", False)


async def test_a_start_checkpoint_is_verified_before_a_job_starts_from_it(scripted: ScriptedAttempts) -> None:
    first = await scripted.setup.job(start="head")
    await (await scripted.attempt(WORK)).attend()
    second = await scripted.setup.job(start="head")
    check = "assert pathlib.Path(spec['directory'], 'model.safetensors').read_bytes() == b'weights'\n"
    await (await scripted.attempt(check + WORK)).attend()
    assert (await scripted.setup.scene.row(second)).status == "succeeded"

    async def other_weights() -> AsyncIterator[bytes]:
        yield b"wrong!!"

    third = await scripted.setup.job(start="head")
    await scripted.setup.storage.write(completion.checkpoint_prefix(second, 1) + "/model.safetensors", other_weights())
    await (await scripted.attempt(WORK)).attend()
    assert (await scripted.setup.scene.events(third))[-1].data == {"reason": "checkpoint_damaged"}
    assert (await scripted.setup.scene.row(first)).status == "succeeded"


async def test_a_failing_storage_costs_an_attempt_but_not_the_job(scripted: ScriptedAttempts) -> None:
    class FullStorage:
        """A storage that takes no more bytes."""

        def __init__(self, real: Storage) -> None:
            self.read = real.read

        async def write(self, key: str, chunks: AsyncIterator[bytes]) -> int:
            raise OSError(28, "No space left on device")

    row = await scripted.run(WORK, storage=FullStorage(scripted.setup.storage))  # type: ignore[arg-type]
    assert (row.status, row.failures) == ("queued", 1)
    assert (await scripted.setup.scene.events(row.id))[-1].data == {"reason": "service_unreachable"}


async def test_a_child_sees_its_devices_and_none_of_the_workers_secrets(
    scripted: ScriptedAttempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret-of-the-worker")
    file = scripted.setup.folder / "environment"
    await scripted.run(f"pathlib.Path({str(file)!r}).write_text(json.dumps(dict(os.environ)))\n" + WORK)
    environment = file.read_text()
    assert "secret-of-the-worker" not in environment
    assert '"CUDA_VISIBLE_DEVICES": ""' in environment


JUDGED = """
assert spec["measure"] == ["likelihood"]
assert spec["policy"]["name"] == "default"
say("judged", judgement=json.loads(VERDICT))
"""


@pytest.mark.parametrize("verdict", ["passed", "failed"])
async def test_the_childs_judgement_is_stored_with_job_and_checkpoint(
    scripted: ScriptedAttempts, verdict: Verdict
) -> None:
    judged = judgement(verdict)
    script = f"VERDICT = {judged.model_dump_json()!r}\n" + JUDGED + WORK
    id = await scripted.setup.job(measure=["likelihood"], policy=DEFAULT_POLICY.model_dump(mode="json"))
    await (await scripted.attempt(script)).attend()
    job = await scripted.setup.scene.row(id)
    assert (job.status, job.verdict) == ("succeeded", verdict), job.error
    assert job.judgement == judged.model_dump(mode="json")
    async with scripted.setup.scene.sessions() as session:
        (checkpoint,) = await checkpoints.list_for_job(session, scripted.setup.scene.organisation, job.id)
    assert (checkpoint.verdict, checkpoint.released) == (verdict, True)  # the model of these tests needs no release


async def test_a_job_with_nothing_to_forget_succeeds_with_a_verdict_and_without_a_checkpoint(
    scripted: ScriptedAttempts,
) -> None:
    judged = judgement("passed")
    end = "say('done', outcome='nothing_to_forget')\n"
    script = f"VERDICT = {judged.model_dump_json()!r}\n" + JUDGED + end
    id = await scripted.setup.job(measure=["likelihood"], policy=DEFAULT_POLICY.model_dump(mode="json"))
    await (await scripted.attempt(script)).attend()
    job = await scripted.setup.scene.row(id)
    assert (job.status, job.outcome, job.verdict) == ("succeeded", "nothing_to_forget", "passed"), job.error
    assert job.judgement == judged.model_dump(mode="json")
    async with scripted.setup.scene.sessions() as session:
        assert await checkpoints.list_for_job(session, scripted.setup.scene.organisation, job.id) == []
    assert (await scripted.setup.event_types(id))[-2:] == ["judged", "succeeded"]


async def test_the_judgement_of_a_failed_attempt_is_not_stored(scripted: ScriptedAttempts) -> None:
    script = f"say('judged', judgement=json.loads({judgement('passed').model_dump_json()!r}))\nsys.exit(1)\n"
    row = await scripted.run(script)
    assert (row.status, row.verdict, row.judgement) == ("queued", None, None)
    assert "judged" not in await scripted.setup.event_types(row.id)
