"""Jobs that two processes share: what they deliver, and how they end."""

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
from tests.integration.pipeline.child import Outcome, child, run
from tests.integration.pipeline.test_ends import endless, served
from tests.tiny_model import REPOSITORY, TinyModel


def others(of: int) -> list[psutil.Process]:
    """Who shares the job with the process of that id."""
    return [one for one in psutil.Process(of).children(recursive=True) if "--rank" in one.cmdline()]


def gone(processes: list[psutil.Process]) -> bool:
    """Whether they end within some seconds."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    return all(one.status() == psutil.STATUS_ZOMBIE for one in alive)


def losses(outcome: Outcome) -> list[dict[str, float]]:
    curves = [event.values for event in outcome.events if isinstance(event, CurvePoint)]
    return [{name: value for name, value in one.items() if "loss" in name} for one in curves]


def test_two_ranks_deliver_what_one_process_does_and_ask_for_the_records_once(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    training = spec.training.model_copy(
        update={"optimizer": "sgd", "learning_rate": 0.05, "gradient_clip": 1e9, "epochs": 2, "micro_batch_tokens": 200}
    )
    method = ChildMethod(name="ascent_kl", parameters={})
    one = spec.model_copy(update={"training": training, "method": method, "threads": 2})
    alone = run(one.model_copy(update={"output": tmp_path / "alone"}))
    sets = [
        RecordSet(name="forget", records=tiny_model.sets["forget"]),
        RecordSet(name="retain", kind="in_distribution", records=tiny_model.sets["retain"]),
        RecordSet(name="unseen", records=tiny_model.sets["unseen"]),
    ]
    lines = [each.model_dump_json().encode() + b"\n" for each in sets]
    with served(tmp_path / "records", "a token", lines) as tokens:
        source = SocketRecords(path=tmp_path / "records", token="a token")
        shared = run(one.model_copy(update={"ranks": 2, "records": source}))
    assert (alone.code, shared.code) == (0, 0), shared.stderr
    assert tokens == [b"a token"]
    assert shared.kinds() == alone.kinds()
    assert shared.events[-1] == Done(outcome="unlearned")
    assert shared.only("saved") == [Saved(directory=spec.output, step=4)]
    for here, there in zip(losses(alone), losses(shared), strict=True):
        assert there == pytest.approx(here, rel=1e-4)
    costs = [next(event for event in outcome.events if isinstance(event, CostReported)) for outcome in (alone, shared)]
    assert costs[1].tokens == costs[0].tokens
    assert costs[1].passed == costs[0].passed
    assert costs[1].flops == pytest.approx(costs[0].flops)
    wanted, found = (load_file(folder / "model.safetensors") for folder in (tmp_path / "alone", spec.output))
    assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    files = [sorted(path.name for path in folder.iterdir()) for folder in (tmp_path / "alone", spec.output)]
    assert files[0] == files[1]
    assert (spec.output / "config.json").read_text() == (tmp_path / "alone" / "config.json").read_text()


def test_when_one_rank_is_killed_the_job_fails_once_and_says_why(spec: UnlearnSpec) -> None:
    with child(endless(spec).model_copy(update={"ranks": 2})) as one:
        one.until(lambda event: event.kind == "progress")
        (other,) = others(one.process.pid)
        other.kill()
        outcome = one.ended()
    (failed,) = [event for event in outcome.events if isinstance(event, Failed)]
    assert failed is outcome.events[-1]
    assert (failed.error.code, failed.error.blame, failed.error.retryable) == ("rank_died", "service", True)
    assert "process 2 of the 2" in failed.error.message
    assert "SIGKILL" in failed.error.message
    assert outcome.code == 3
    assert gone([other])


def test_wishes_reach_all_ranks_and_a_paused_job_goes_on_where_it_was(spec: UnlearnSpec, tmp_path: Path) -> None:
    spec = endless(spec).model_copy(update={"ranks": 2, "snapshots": tmp_path / "snapshots"})
    with child(spec) as one:
        one.until(lambda event: event.kind == "progress")
        company = others(one.process.pid)
        for other in (*company, one.process):  # a host on its way down tells all
            other.send_signal(signal.SIGTERM)
        outcome = one.ended()
    paused = outcome.events[-1]
    assert isinstance(paused, Paused)
    assert paused.step > 0
    assert len(company) == 1
    assert gone(company)
    with child(spec.model_copy(update={"fence": 1})) as one:
        resumed = one.until(lambda event: event.kind == "resumed")
        assert one.until(lambda event: event.kind == "progress").step == paused.step + 1
        company = others(one.process.pid)
        one.tell('{"command":"cancel"}')
        outcome = one.ended()
    assert resumed == Resumed(step=paused.step)
    assert (outcome.code, outcome.events[-1]) == (0, Cancelled())
    assert len(company) == 1
    assert gone(company)


def test_no_rank_outlives_the_one_that_started_the_job(spec: UnlearnSpec, tmp_path: Path) -> None:
    """`unlearn run --ranks 2`, killed as nobody can prepare for."""
    (tmp_path / "spec.json").write_text(endless(spec).model_dump_json(indent=1))
    command = [sys.executable, "-m", "api.cli", "run", str(tmp_path / "spec.json"), "--ranks", "2"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        assert any(b'"progress"' in line for line in parent.stdout)
        company = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
        began = time.monotonic()
        assert len(company) == 2
        assert gone(company)
        assert time.monotonic() - began < 60
