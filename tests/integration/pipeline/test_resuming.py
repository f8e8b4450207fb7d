"""Paused and killed children, and the next attempt: it delivers the checkpoint of an undisturbed job."""

import signal
import sys
import time
from pathlib import Path

import pytest

from core.schema.events import ChildEvent, Measured, Paused, Resumed
from core.schema.job_spec import ChildMethod, UnlearnSpec
from core.schema.manifest import digest, manifest
from tests.integration.pipeline.child import COMMAND, Outcome, child, run, sealed_folder


@pytest.fixture
def long_job(spec: UnlearnSpec, tmp_path: Path) -> UnlearnSpec:
    """A job of forty updates, with snapshots."""
    training = spec.training.model_copy(update={"epochs": 20, "snapshot_every": 5})
    method = ChildMethod(name="ascent_descent", parameters={})
    return spec.model_copy(
        update={"training": training, "method": method, "snapshots": sealed_folder(tmp_path / "snapshots")}
    )


def attempt(spec: UnlearnSpec, fence: int) -> UnlearnSpec:
    """An attempt at the job, which shares only the snapshots with earlier ones."""
    return spec.model_copy(update={"fence": fence, "output": spec.output.with_name(f"checkpoint-{fence}")})


def reached(step: int, kind: str = "progress"):  # type: ignore[no-untyped-def]
    def matches(event: ChildEvent) -> bool:
        return event.kind == kind and event.step >= step  # type: ignore[union-attr]

    return matches


def checkpoint_digest(outcome: Outcome, spec: UnlearnSpec) -> str:
    assert outcome.kinds()[-1] == "done", outcome.stderr
    return digest(manifest(spec.output))


def test_a_job_terminated_and_killed_delivers_the_checkpoint_of_an_undisturbed_job(long_job: UnlearnSpec) -> None:
    # a new interpreter: forked children share their seed of string hashes, and with it the order of sets of strings
    undisturbed = run(long_job.model_copy(update={"snapshots": None}), COMMAND)
    expected = checkpoint_digest(undisturbed, long_job)

    with child(attempt(long_job, 1)) as first:
        first.wait_for(reached(4))
        first.process.send_signal(signal.SIGTERM)
        paused = first.wait()
    assert paused.code == 0
    last = paused.events[-1]
    assert isinstance(last, Paused)
    assert last.step >= 4
    assert "saved" not in paused.kinds()
    assert long_job.snapshots is not None
    assert [path.name for path in long_job.snapshots.folder.glob("*/*")] == [str(last.step)]

    with child(attempt(long_job, 2)) as second:
        second.wait_for(reached(last.step + 5, "snapshot"))
        second.process.kill()
        killed = second.wait()
    assert killed.of_kind("resumed") == [Resumed(step=last.step)]
    assert "measuring_before" not in str(killed.of_kind("phase"))  # the first attempt's figures were kept

    third = attempt(long_job, 3)
    outcome = run(third)
    assert checkpoint_digest(outcome, third) == expected
    (resumed,) = outcome.of_kind("resumed")
    assert isinstance(resumed, Resumed)
    assert resumed.step >= last.step + 5
    measured = [event for event in (*undisturbed.of_kind("measured"), *outcome.of_kind("measured"))]
    figures = [event.measurements for event in measured if isinstance(event, Measured)]
    assert [figures[0].sets, figures[1].sets] == [figures[2].sets, figures[3].sets]


TORCH_TAKES_MINUTES = """
import runpy, sys, time
class Slow:
    def find_spec(name, path=None, target=None):
        if name == "torch":
            time.sleep(300)
sys.meta_path.insert(0, Slow)
runpy.run_module("core.pipeline", run_name="__main__", alter_sys=True)
"""


def test_a_pause_before_training_ends_the_child_at_once(long_job: UnlearnSpec) -> None:
    with child(long_job, [sys.executable, "-c", TORCH_TAKES_MINUTES]) as job:
        job.wait_for(lambda event: event.kind == "phase")
        job.write_line('{"command":"pause"}')
        paused = time.monotonic()
        outcome = job.wait()
    assert time.monotonic() - paused < 60
    assert (outcome.code, outcome.events[-1]) == (0, Paused(step=0))


def test_a_pause_while_measuring_afterwards_ends_the_child_at_the_newest_snapshot(long_job: UnlearnSpec) -> None:
    with child(long_job) as job:
        job.wait_for(lambda event: event.kind == "saved")
        job.write_line('{"command":"pause"}')
        outcome = job.wait()
    newest = outcome.of_kind("snapshot")[-1]
    assert (outcome.code, outcome.events[-1]) == (0, Paused(step=newest.step))  # type: ignore[union-attr]
