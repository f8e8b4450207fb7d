"""Baseline figures are read by the same job and the same measuring code only."""

from pathlib import Path

import pytest

from core.lm.fingerprint import Fingerprint
from core.pipeline import baseline_figures
from core.schema.evaluation import Measurements

FIGURES = Measurements(records={"forget": 3}, seconds=1.0, model_digest="0" * 64)
MINE = Fingerprint({"model": "a"}, b"records")


def test_figures_are_read_by_the_same_job_only(tmp_path: Path) -> None:
    baseline_figures.save(tmp_path, MINE, FIGURES)
    assert baseline_figures.load(tmp_path, MINE) == FIGURES
    assert baseline_figures.load(tmp_path, Fingerprint({"model": "b"}, b"records")) is None
    assert baseline_figures.load(tmp_path, Fingerprint({"model": "a"}, b"others")) is None


def test_figures_are_not_read_after_the_measuring_code_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    baseline_figures.save(tmp_path, MINE, FIGURES)
    monkeypatch.setattr(baseline_figures, "code_digest", lambda: "after a deploy")
    assert baseline_figures.load(tmp_path, MINE) is None
    assert MINE.differences(MINE.stored()) == []  # the fingerprint of snapshots does not cover the measuring code
