"""`unlearn bench interruptions`: whom it kills, when, and what it says of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from api.cli.data_folder import DataFolder
from api.cli.stale_processes import StaleProcesses
from api.client import Client, ServerSentEvent
from benchmarks.interruptions import NoChild, Trial, child_of, disturb, markdown

SLEEPS = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]


@pytest.fixture
def place(tmp_path: Path) -> DataFolder:
    """A folder whose worker is this process."""
    place = DataFolder(tmp_path)
    place.logs.mkdir()
    StaleProcesses(place).note("worker", os.getpid())
    return place


@pytest.fixture
def children() -> Iterator[list["subprocess.Popen[bytes]"]]:
    started = [subprocess.Popen(SLEEPS, stdout=subprocess.PIPE) for _ in range(2)]
    yield started
    for one in started:
        one.kill()
        one.communicate()


def tell(place: DataFolder, **starts: int) -> None:
    lines = [json.dumps({"event": "child starts", "job": job, "pid": pid}) for job, pid in starts.items()]
    noise = ["not a line of the log about job_b", json.dumps({"event": "attempt ends", "job": "job_b"})]
    (place.logs / "worker.log").write_text("\n".join([*lines, *noise, '{"event": "child starts", "job": "job_b", "p']))


def following(*messages: tuple[str, dict[str, Any]]) -> Client:
    class Told:
        def follow(self, job: str) -> Iterator[ServerSentEvent]:
            return (ServerSentEvent(kind, data, None) for kind, data in messages)

    return cast(Client, Told())


def progress(step: int) -> tuple[str, dict[str, Any]]:
    return "progress", {"step": step, "steps": 30}


def test_only_the_process_that_works_on_the_job_is_found(
    place: DataFolder, children: list["subprocess.Popen[bytes]"]
) -> None:
    tell(place, job_b=children[1].pid, job_a=children[0].pid)
    assert child_of(place, "job_b").pid == children[1].pid


@pytest.mark.parametrize("pid", [1, os.getppid()])
def test_no_process_of_another_is_found(place: DataFolder, pid: int) -> None:
    tell(place, job_b=pid)
    with pytest.raises(NoChild):
        child_of(place, "job_b")


def test_nothing_is_found_where_the_noted_worker_is_gone(
    place: DataFolder, children: list["subprocess.Popen[bytes]"]
) -> None:
    tell(place, job_b=children[0].pid)
    note = place.folder / "processes.json"
    note.write_text(json.dumps({"worker": [os.getpid(), 0.0]}))  # of that id, but begun at another time
    with pytest.raises(NoChild):
        child_of(place, "job_b")


def test_it_kills_once_after_a_snapshot_of_the_middle(
    place: DataFolder, children: list["subprocess.Popen[bytes]"]
) -> None:
    tell(place, job_b=children[0].pid)
    early = [progress(9), ("snapshot", {"step": 9}), progress(10)]
    late = [("snapshot", {"step": 10}), progress(12), progress(13), ("resumed", {"step": 10}), progress(14)]
    assert disturb(following(*early), place, "job_b") == (None, None)
    assert children[0].poll() is None
    assert disturb(following(*early, *late), place, "job_b") == (12, 10)
    assert children[0].wait(5) == -signal.SIGKILL
    assert children[1].poll() is None


def test_an_early_snapshot_has_to_do_where_no_other_comes_by_half(
    place: DataFolder, children: list["subprocess.Popen[bytes]"]
) -> None:
    tell(place, job_b=children[0].pid)
    told = [progress(14), ("snapshot", {"step": 1}), progress(14), progress(15), ("resumed", {"step": 1})]
    assert disturb(following(*told), place, "job_b") == (15, 1)


def job(seconds: int, status: str = "succeeded", attempts: int = 1) -> dict[str, Any]:
    return {
        "status": status,
        "method": {"name": "npo"},
        "progress": {"steps": 30},
        "attempts": attempts,
        "error": {"code": "nan_loss"} if status == "failed" else None,
        "created_at": "2026-01-01T00:00:00Z",
        "finished_at": f"2026-01-01T00:00:{seconds:02}Z",
    }


HELD = Trial(job(4), job(9, attempts=2), ("aa", "aa"), 12, 10)


def test_a_row_tells_what_happened_and_whether_the_weights_are_the_same() -> None:
    lines = markdown([HELD, replace(HELD, weights=("aa", "bb"), resumed_at=None)]).splitlines()
    assert "1 of 2 ended with the weights" in lines[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[-2:]]
    assert rows == [
        ["npo", "yes", "30", "12", "10", "2", "4.0", "9.0"],
        ["npo", "no", "30", "12", "–", "2", "4.0", "9.0"],
    ]
    assert len({len(line) for line in lines[2:]}) == 1


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (replace(HELD, weights=("aa", "bb")), "no"),
        (replace(HELD, weights=(None, None)), "no"),
        (replace(HELD, killed=job(9, "failed")), "failed: nan_loss"),
        (replace(HELD, undisturbed=job(9, "cancelled")), "cancelled"),
        (replace(HELD, killed_after=None), "yes"),
        (replace(HELD, resumed_at=None), "yes"),
    ],
)
def test_it_holds_only_where_a_job_was_killed_resumed_and_ended_the_same(trial: Trial, words: str) -> None:
    assert HELD.held
    assert not trial.held
    assert trial.in_words == words


def test_a_method_that_there_is_not_is_refused_before_anything_starts(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "interruptions", "--method", "lobotomy", "--data", str(tmp_path / "data")])
    assert done.exit_code == 2
    assert not (tmp_path / "data").exists()
