"""A model small enough for tests that knows its records by heart, and the records. It is trained in a process."""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from core.demo.people import demo_sets, write_jsonl
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
    """The model, trained once in a test session (about 8 s), whichever folders of tests import this fixture."""
    return _train(tmp_path_factory.getbasetemp() / "tiny")


@cache
def _train(folder: Path) -> TinyModel:
    folder.mkdir()
    sets = demo_sets(forget=8, retain=16, unseen=16, seed=7)
    files: dict[SetName, Path] = {name: folder / f"{name}.jsonl" for name in sets}
    for name, file in files.items():
        write_jsonl(sets[name], file)
    command = [sys.executable, "-m", "core.demo.pretraining", "--size", "tiny", "--threads", "1"]
    command += ["--records", str(files["forget"]), "--records", str(files["retain"])]
    command += ["--tokenizer-records", str(files["unseen"]), "--out", str(folder / "model")]
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    events = [json.loads(line) for line in finished.stdout.splitlines()]
    return TinyModel(folder / "model", sets, files, events)
