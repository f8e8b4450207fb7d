"""Baseline figures are read by the same job and the same measuring code only."""

from base64 import b64encode
from pathlib import Path

import pytest
from pydantic import SecretBytes

from core.lm.fingerprint import Fingerprint
from core.pipeline import baseline_figures
from core.schema.evaluation import Measurements
from core.schema.job_spec import SealedFolder

FIGURES = Measurements(records={"forget": 3}, seconds=1.0, model_digest="0" * 64)
KEY = b64encode(bytes(32))
MINE = Fingerprint({"model": "a"}, b"records")


def place(folder: Path, key: bytes = KEY) -> SealedFolder:
    return SealedFolder(folder=folder, key=SecretBytes(key))


def test_figures_are_read_by_the_same_job_only(tmp_path: Path) -> None:
    baseline_figures.save(place(tmp_path), MINE, FIGURES)
    assert baseline_figures.load(place(tmp_path), MINE) == FIGURES
    assert baseline_figures.load(place(tmp_path), Fingerprint({"model": "b"}, b"records")) is None
    assert baseline_figures.load(place(tmp_path), Fingerprint({"model": "a"}, b"others")) is None


def test_figures_are_not_read_after_the_measuring_code_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    baseline_figures.save(place(tmp_path), MINE, FIGURES)
    monkeypatch.setattr(baseline_figures, "code_digest", lambda: "after a deploy")
    assert baseline_figures.load(place(tmp_path), MINE) is None
    assert MINE.differences(MINE.stored()) == []  # the fingerprint of snapshots does not cover the measuring code


def test_figures_do_not_open_without_the_jobs_key(tmp_path: Path) -> None:
    baseline_figures.save(place(tmp_path), MINE, FIGURES)
    (file,) = tmp_path.iterdir()
    assert FIGURES.model_digest.encode() not in file.read_bytes()
    assert baseline_figures.load(place(tmp_path, b64encode(bytes(range(32)))), MINE) is None
