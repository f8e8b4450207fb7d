"""`unlearn bench interruptions`: the process that it kills, the moment, and its table."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from api.cli.data_folder import DataFolder
from api.cli.stale_processes import StaleProcesses
from api.client import ServerSentEvent
from benchmarks.interruptions import NoChild, Trial, disturb, find_child, markdown

SLEEPS = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]


@pytest.fixture
def data_folder(tmp_path: Path) -> DataFolder:
    """A data folder whose worker is this process."""
    data_folder = DataFolder(tmp_path)
    data_folder.logs.mkdir()
    StaleProcesses(data_folder).add("worker", os.getpid())
    return data_folder


@pytest.fixture
def children() -> Iterator[list["subprocess.Popen[bytes]"]]:
    children = [subprocess.Popen(SLEEPS, stdout=subprocess.PIPE) for _ in range(2)]
    yield children
    for child in children:
        child.kill()
        child.communicate()


def write_log(data_folder: DataFolder, **pids: int) -> None:
    """Writes a worker's log in which each job's child starts, among other lines."""
    lines = [json.dumps({"event": "child starts", "job": job, "pid": pid}) for job, pid in pids.items()]
    noise = ["not a line of the log about job_b", json.dumps({"event": "attempt ends", "job": "job_b"})]
    cut_short = '{"event": "child starts", "job": "job_b", "p'
    (data_folder.logs / "worker.log").write_text("\n".join([*lines, *noise, cut_short]))


def stream_of(*messages: tuple[str, dict[str, Any]]) -> list[ServerSentEvent]:
    return [ServerSentEvent(kind, data, None) for kind, data in messages]


def progress(step: int) -> tuple[str, dict[str, Any]]:
    return "progress", {"step": step, "steps": 30}


def test_only_the_process_that_works_on_the_job_is_found(
    data_folder: DataFolder, children: list["subprocess.Popen[bytes]"]
) -> None:
    write_log(data_folder, job_b=children[1].pid, job_a=children[0].pid)
    assert find_child(data_folder, "job_b").pid == children[1].pid


@pytest.mark.parametrize("pid", [1, os.getppid()])
def test_a_process_that_the_worker_did_not_start_is_not_found(data_folder: DataFolder, pid: int) -> None:
    write_log(data_folder, job_b=pid)
    with pytest.raises(NoChild):
        find_child(data_folder, "job_b")


def test_no_process_is_found_where_the_recorded_worker_is_gone(
    data_folder: DataFolder, children: list["subprocess.Popen[bytes]"]
) -> None:
    write_log(data_folder, job_b=children[0].pid)
    file = data_folder.path / "processes.json"
    file.write_text(json.dumps({"worker": [os.getpid(), 0.0]}))  # the same id, another start time
    with pytest.raises(NoChild):
        find_child(data_folder, "job_b")


def test_a_job_is_killed_once_after_a_snapshot_of_the_middle(
    data_folder: DataFolder, children: list["subprocess.Popen[bytes]"]
) -> None:
    write_log(data_folder, job_b=children[0].pid)
    early = [progress(9), ("snapshot", {"step": 9}), progress(10)]
    late = [("snapshot", {"step": 10}), progress(12), progress(13), ("resumed", {"step": 10}), progress(14)]
    assert disturb(stream_of(*early), data_folder, "job_b") == (None, None)
    assert children[0].poll() is None
    assert disturb(stream_of(*early, *late), data_folder, "job_b") == (12, 10)
    assert children[0].wait(5) == -signal.SIGKILL
    assert children[1].poll() is None


def test_a_job_is_killed_after_an_early_snapshot_where_no_later_one_comes_by_half(
    data_folder: DataFolder, children: list["subprocess.Popen[bytes]"]
) -> None:
    write_log(data_folder, job_b=children[0].pid)
    messages = [progress(14), ("snapshot", {"step": 1}), progress(14), progress(15), ("resumed", {"step": 1})]
    assert disturb(stream_of(*messages), data_folder, "job_b") == (15, 1)


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


PASSED = Trial(job(4), job(9, attempts=2), ("aa", "aa"), 12, 10)


def test_a_row_shows_the_interruption_and_whether_the_weights_are_the_same() -> None:
    lines = markdown([PASSED, replace(PASSED, weights=("aa", "bb"), resumed_at=None)]).splitlines()
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
        (replace(PASSED, weights=("aa", "bb")), "no"),
        (replace(PASSED, weights=(None, None)), "no"),
        (replace(PASSED, killed=job(9, "failed")), "failed: nan_loss"),
        (replace(PASSED, undisturbed=job(9, "cancelled")), "cancelled"),
        (replace(PASSED, killed_after=None), "yes"),
        (replace(PASSED, resumed_at=None), "yes"),
    ],
)
def test_a_trial_passes_only_where_the_job_was_killed_resumed_and_ended_the_same(trial: Trial, words: str) -> None:
    assert PASSED.passed
    assert not trial.passed
    assert trial.same_weights == words


def test_an_unknown_method_is_refused_before_anything_starts(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "interruptions", "--method", "lobotomy", "--data", str(tmp_path / "data")])
    assert done.exit_code == 2
    assert not (tmp_path / "data").exists()
