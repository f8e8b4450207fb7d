"""A model small enough for tests that knows its records by heart, and the records. It is trained in a process."""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from core.demo.people import demo_sets, read_jsonl, write_jsonl
from core.schema.evaluation import SetName
from core.schema.record import Record

REPOSITORY = Path(__file__).parent.parent


@dataclass(frozen=True)
class TinyModel:
    """A model that was trained on forget and retain, never on unseen."""

    directory: Path
    sets: dict[SetName, list[Record]]
    files: dict[SetName, Path]
    events: list[dict[str, object]]
    """The training's output lines, one for each step."""


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """The model, trained once in a test run (about 8 s), whichever folders of tests import this fixture."""
    folder = tmp_path_factory.getbasetemp()
    # the processes of a parallel run have their folders side by side in the run's own
    return _model(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)


@cache
def _model(folder: Path) -> TinyModel:
    """Returns the model in the folder, which the first process to come trains."""
    with (folder / "tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "tiny").exists():
            partial = Path(tempfile.mkdtemp(dir=folder))
            _train(partial)
            partial.rename(folder / "tiny")
    return _read(folder / "tiny")


def _train(folder: Path) -> None:
    sets = demo_sets(forget=8, retain=16, unseen=16, seed=7)
    files: dict[SetName, Path] = {name: folder / f"{name}.jsonl" for name in sets}
    for name, file in files.items():
        write_jsonl(sets[name], file)
    command = [sys.executable, "-m", "core.demo.pretraining", "--size", "tiny", "--threads", "1"]
    command += ["--records", str(files["forget"]), "--records", str(files["retain"])]
    command += ["--tokenizer-records", str(files["unseen"]), "--out", str(folder / "model")]
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    (folder / "events.jsonl").write_text(finished.stdout)


def _read(folder: Path) -> TinyModel:
    names: tuple[SetName, ...] = ("forget", "retain", "unseen")
    files = {name: folder / f"{name}.jsonl" for name in names}
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return TinyModel(folder / "model", {name: read_jsonl(file) for name, file in files.items()}, files, events)
