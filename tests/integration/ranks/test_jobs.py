"""Jobs that two ranks share: their checkpoints and their ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from core.schema.events import Cancelled, CostReported, CurvePoint, Done, Failed, Paused, Resumed, Saved
from core.schema.job_spec import ChildMethod, RecordSet, SocketRecords, UnlearnSpec
from tests.integration.pipeline.child import Outcome, child, run, sealed_folder
from tests.integration.pipeline.test_ends import endless, record_server
from tests.tiny_model import REPOSITORY, TinyModel


def other_ranks(pid: int) -> list[psutil.Process]:
    """The processes that share the job with rank 0, whose process id is `pid`."""
    children = psutil.Process(pid).children(recursive=True)
    return [process for process in children if "--rank" in process.cmdline()]


def have_ended(processes: list[psutil.Process]) -> bool:
    """Whether the processes end within some seconds."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def losses(outcome: Outcome) -> list[dict[str, float]]:
    curves = [event.values for event in outcome.events if isinstance(event, CurvePoint)]
    return [{name: value for name, value in values.items() if "loss" in name} for values in curves]


def test_two_ranks_deliver_the_checkpoint_of_one_process_and_fetch_the_records_once(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    training = spec.training.model_copy(
        update={"optimizer": "sgd", "learning_rate": 0.05, "gradient_clip": 1e9, "epochs": 2, "micro_batch_tokens": 200}
    )
    method = ChildMethod(name="ascent_kl", parameters={})
    job = spec.model_copy(update={"training": training, "method": method, "threads": 2})
    alone = run(job.model_copy(update={"output": tmp_path / "alone"}))
    sets = [
        RecordSet(name="forget", records=tiny_model.sets["forget"]),
        RecordSet(name="retain", kind="in_distribution", records=tiny_model.sets["retain"]),
        RecordSet(name="unseen", records=tiny_model.sets["unseen"]),
    ]
    lines = [records.model_dump_json().encode() + b"\n" for records in sets]
    with record_server(tmp_path / "records", "a token", lines) as tokens:
        source = SocketRecords(path=tmp_path / "records", token="a token")
        shared = run(job.model_copy(update={"ranks": 2, "records": source}))
    assert (alone.code, shared.code) == (0, 0), shared.stderr
    assert tokens == [b"a token"]
    assert shared.kinds() == alone.kinds()
    assert shared.events[-1] == Done(outcome="unlearned")
    assert shared.of_kind("saved") == [Saved(directory=spec.output, step=4)]
    for alone_losses, shared_losses in zip(losses(alone), losses(shared), strict=True):
        assert shared_losses == pytest.approx(alone_losses, rel=1e-4)
    costs = [next(event for event in outcome.events if isinstance(event, CostReported)) for outcome in (alone, shared)]
    assert costs[1].tokens == costs[0].tokens
    assert costs[1].passed == costs[0].passed
    assert costs[1].flops == pytest.approx(costs[0].flops)
    alone_weights, shared_weights = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "alone", spec.output)
    )
    assert_close(shared_weights, alone_weights, rtol=1e-4, atol=1e-5)
    files = [sorted(path.name for path in folder.iterdir()) for folder in (tmp_path / "alone", spec.output)]
    assert files[0] == files[1]
    assert (spec.output / "config.json").read_text() == (tmp_path / "alone" / "config.json").read_text()


def test_when_a_rank_is_killed_the_job_fails_once_with_the_reason(spec: UnlearnSpec) -> None:
    with child(endless(spec).model_copy(update={"ranks": 2})) as job:
        job.wait_for(lambda event: event.kind == "progress")
        (other,) = other_ranks(job.process.pid)
        other.kill()
        outcome = job.wait()
    (failed,) = [event for event in outcome.events if isinstance(event, Failed)]
    assert failed is outcome.events[-1]
    assert (failed.error.code, failed.error.blame, failed.error.retryable) == ("rank_died", "service", True)
    assert "process 2 of the 2" in failed.error.message
    assert "SIGKILL" in failed.error.message
    assert outcome.code == 3
    assert have_ended([other])


def test_pause_and_cancel_reach_all_ranks_and_a_paused_job_resumes(spec: UnlearnSpec, tmp_path: Path) -> None:
    spec = endless(spec).model_copy(update={"ranks": 2, "snapshots": sealed_folder(tmp_path / "snapshots")})
    with child(spec) as job:
        job.wait_for(lambda event: event.kind == "progress")
        ranks = other_ranks(job.process.pid)
        for process in (*ranks, job.process):  # a host that shuts down signals all processes
            process.send_signal(signal.SIGTERM)
        outcome = job.wait()
    paused = outcome.events[-1]
    assert isinstance(paused, Paused)
    assert paused.step > 0
    assert len(ranks) == 1
    assert have_ended(ranks)
    with child(spec.model_copy(update={"fence": 1})) as job:
        resumed = job.wait_for(lambda event: event.kind == "resumed")
        assert job.wait_for(lambda event: event.kind == "progress").step == paused.step + 1
        ranks = other_ranks(job.process.pid)
        job.write_line('{"command":"cancel"}')
        outcome = job.wait()
    assert resumed == Resumed(step=paused.step)
    assert (outcome.code, outcome.events[-1]) == (0, Cancelled())
    assert len(ranks) == 1
    assert have_ended(ranks)


def test_no_rank_outlives_the_process_that_started_the_job(spec: UnlearnSpec, tmp_path: Path) -> None:
    """`unlearn run --ranks 2`, killed by SIGKILL."""
    (tmp_path / "spec.json").write_text(endless(spec).model_dump_json(indent=1))
    command = [sys.executable, "-m", "api.cli", "run", str(tmp_path / "spec.json"), "--ranks", "2"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        assert any(b'"progress"' in line for line in parent.stdout)
        ranks = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
        began = time.monotonic()
        assert len(ranks) == 2
        assert have_ended(ranks)
        assert time.monotonic() - began < 60
