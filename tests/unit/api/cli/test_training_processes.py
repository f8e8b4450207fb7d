"""Trainings run at once, as real processes; each leaves a whole model or none."""

import json
from io import StringIO
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from api.cli.child import ChildFailed
from api.cli.training_processes import Training, run_trainings

PROGRAM = "tests.unit.api.cli.scripted_training"


def training(directory: Path, *arguments: str) -> Training:
    return Training(f"training {directory.name}", directory, [PROGRAM, *arguments])


def shown(*trainings: Training) -> str:
    printed = StringIO()
    run_trainings(trainings, Console(file=printed, width=100))
    return printed.getvalue()


def test_two_trainings_run_at_the_same_time(tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    # each waits for the other, so that one after the other would never end
    shown(*(training(tmp_path / name, "--meet", str(meeting)) for name in ("a", "b")))
    assert (tmp_path / "a" / "config.json").exists()
    assert (tmp_path / "b" / "config.json").exists()


def test_a_model_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    done = training(tmp_path / "a")
    assert "cached" not in shown(done)
    assert shown(done).strip() == "training a: cached"


def test_the_steps_are_shown_without_a_terminal_and_the_end_in_words(tmp_path: Path) -> None:
    training = Training("a", tmp_path / "a", [PROGRAM, "--steps", "8"], lambda line: f", loss {line['loss']}")
    lines = [line.strip() for line in shown(training).splitlines()]
    assert lines[:-1] == [f"a: step {step} of 8" for step in (2, 4, 6, 8)]
    assert lines[-1].endswith("s, loss 0.25")


def test_a_training_that_fails_is_reported_with_its_last_words_and_leaves_no_model(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="training a: the process ended with code 3: the reason why it failed"):
        shown(training(tmp_path / "a", "--fail"))
    assert not (tmp_path / "a").exists()


def test_a_training_that_fails_stops_the_others(tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    trainings = [
        training(tmp_path / "a", "--meet", str(meeting), "--hang"),
        training(tmp_path / "b", "--meet", str(meeting), "--fail"),
    ]
    with pytest.raises(ChildFailed, match="training b"):
        shown(*trainings)
    assert not psutil.pid_exists(int((meeting / ".a").read_text()))
    assert not (tmp_path / "a").exists()


def test_a_program_gets_its_environment(tmp_path: Path) -> None:
    shown(Training("a", tmp_path / "a", [PROGRAM], environment={"WORD": "given"}))
    assert json.loads((tmp_path / "a" / "config.json").read_text()) == {"word": "given"}
