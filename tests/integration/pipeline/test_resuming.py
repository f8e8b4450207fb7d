"""A child that is told to pause, or is killed, and the one after it: the checkpoint is that of an undisturbed one."""

import signal
import sys
import time
from pathlib import Path

import pytest

from core.schema.events import ChildEvent, Measured, Paused, Resumed
from core.schema.job_spec import ChildMethod, UnlearnSpec
from core.schema.manifest import digest, manifest
from tests.integration.pipeline.child import Outcome, child, run


@pytest.fixture
def long(spec: UnlearnSpec, tmp_path: Path) -> UnlearnSpec:
    """A job of forty updates that keeps snapshots."""
    training = spec.training.model_copy(update={"epochs": 20, "snapshot_every": 5})
    method = ChildMethod(name="ascent_descent", parameters={})
    return spec.model_copy(update={"training": training, "method": method, "snapshots": tmp_path / "snapshots"})


def attempt(spec: UnlearnSpec, fence: int) -> UnlearnSpec:
    """The next attempt: what it may find are the snapshots alone."""
    return spec.model_copy(update={"fence": fence, "output": spec.output.with_name(f"checkpoint-{fence}")})


def reached(step: int, kind: str = "progress"):  # type: ignore[no-untyped-def]
    def wanted(event: ChildEvent) -> bool:
        return event.kind == kind and event.step >= step  # type: ignore[union-attr]

    return wanted


def delivered(outcome: Outcome, spec: UnlearnSpec) -> str:
    assert outcome.kinds()[-1] == "done", outcome.stderr
    return digest(manifest(spec.output))


def test_terminated_then_killed_it_ends_as_if_nothing_had_been(long: UnlearnSpec) -> None:
    undisturbed = run(long.model_copy(update={"snapshots": None}))
    expected = delivered(undisturbed, long)

    with child(attempt(long, 1)) as first:
        first.until(reached(4))
        first.process.send_signal(signal.SIGTERM)
        paused = first.ended()
    assert paused.code == 0
    last = paused.events[-1]
    assert isinstance(last, Paused)
    assert last.step >= 4
    assert "saved" not in paused.kinds()
    assert [path.name for path in Path(str(long.snapshots)).glob("*/*")] == [str(last.step)]

    with child(attempt(long, 2)) as second:
        second.until(reached(last.step + 5, "snapshot"))
        second.process.kill()
        killed = second.ended()
    assert killed.only("resumed") == [Resumed(step=last.step)]
    assert "measuring_before" not in str(killed.only("phase"))  # whose figures were kept

    third = attempt(long, 3)
    outcome = run(third)
    assert delivered(outcome, third) == expected
    (resumed,) = outcome.only("resumed")
    assert isinstance(resumed, Resumed)
    assert resumed.step >= last.step + 5
    measured = [event for event in (*undisturbed.only("measured"), *outcome.only("measured"))]
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


def test_a_pause_before_training_ends_it_at_once(long: UnlearnSpec) -> None:
    with child(long, [sys.executable, "-c", TORCH_TAKES_MINUTES]) as one:
        one.until(lambda event: event.kind == "phase")
        one.tell('{"command":"pause"}')
        told = time.monotonic()
        outcome = one.ended()
    assert time.monotonic() - told < 60
    assert (outcome.code, outcome.events[-1]) == (0, Paused(step=0))


def test_a_pause_while_it_measures_afterwards_ends_it_at_the_newest_snapshot(long: UnlearnSpec) -> None:
    with child(long) as one:
        one.until(lambda event: event.kind == "saved")
        one.tell('{"command":"pause"}')
        outcome = one.ended()
    newest = outcome.only("snapshot")[-1]
    assert (outcome.code, outcome.events[-1]) == (0, Paused(step=newest.step))  # type: ignore[union-attr]
