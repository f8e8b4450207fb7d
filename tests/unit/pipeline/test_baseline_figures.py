"""The kept figures of a job are its own, and those of the code that measures what it is compared with."""

from pathlib import Path

import pytest

from core.lm.fingerprint import Fingerprint
from core.pipeline import baseline_figures
from core.schema.evaluation import Measurements

FIGURES = Measurements(records={"forget": 3}, seconds=1.0, model_digest="0" * 64)
MINE = Fingerprint({"model": "a"}, b"records")


def test_kept_figures_are_found_by_the_same_job_alone(tmp_path: Path) -> None:
    baseline_figures.save(tmp_path, MINE, FIGURES)
    assert baseline_figures.load(tmp_path, MINE) == FIGURES
    assert baseline_figures.load(tmp_path, Fingerprint({"model": "b"}, b"records")) is None
    assert baseline_figures.load(tmp_path, Fingerprint({"model": "a"}, b"others")) is None


def test_kept_figures_are_stale_once_the_code_that_measures_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline_figures.save(tmp_path, MINE, FIGURES)
    monkeypatch.setattr(baseline_figures, "code_digest", lambda: "after a deploy")
    assert baseline_figures.load(tmp_path, MINE) is None
    assert MINE.differences(MINE.stored()) == []  # what the job's snapshots belong to says nothing of measuring
