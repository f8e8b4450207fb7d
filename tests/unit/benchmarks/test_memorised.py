"""The models of a benchmark on a pre-trained model: fine-tuned where they must learn, left alone where they know."""

from pathlib import Path

import pytest

from benchmarks.datasets import DataMissing
from benchmarks.memorised import TrainingFailed, tune_models
from core.demo.people import read_jsonl
from tests.tiny_model import TinyModel, tiny_model

__all__ = ["tiny_model"]


def fill(folder: Path) -> None:
    for name in ("forget", "retain", "unseen"):
        (folder / name).mkdir(parents=True)
        clauses = (f"Clause {number} of the {name} text says this and that. " for number in ("one", "two", "three"))
        (folder / name / "text").write_text("\n\n".join(clause * 5 for clause in clauses))


def test_a_pre_trained_model_is_fine_tuned_on_the_smaller_sets_once(tiny_model: TinyModel, tmp_path: Path) -> None:
    models = tune_models("demo", 0, tmp_path, tmp_path, pretrained=tiny_model.directory, threads=1)
    counts = {name: len(read_jsonl(models.file(name))) for name in ("forget", "retain", "unseen")}
    assert counts == {"forget": 20, "retain": 40, "unseen": 60}
    assert "60 synthetic records" in (models.model / "README.md").read_text()
    assert "40 synthetic records" in (models.retrained / "README.md").read_text()
    made = (models.model / "model.safetensors").stat().st_mtime_ns
    again = tune_models("demo", 0, tmp_path, tmp_path, pretrained=tiny_model.directory, threads=1)
    assert (again.model / "model.safetensors").stat().st_mtime_ns == made


def test_text_that_pre_training_taught_needs_no_model_of_its_own(tiny_model: TinyModel, tmp_path: Path) -> None:
    fill(tmp_path / "passages")
    models = tune_models("pretraining", 0, tmp_path, tmp_path / "passages", pretrained=tiny_model.directory)
    assert models.model == tiny_model.directory
    assert not models.retrained.exists()
    assert len(read_jsonl(models.file("forget"))) == 3
    training = models.training("npo", forget_records=3, seed=0)
    assert training.snapshot_every == 0


def test_a_pre_trained_model_that_cannot_be_loaded_leaves_no_model(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    with pytest.raises(TrainingFailed, match="demo, seed 0: training model ended with code 1"):
        tune_models("demo", 0, tmp_path, tmp_path, pretrained=tmp_path / "broken", threads=1)
    assert not (tmp_path / "demo" / "0" / "model").exists()


def test_missing_passages_are_named_before_anything_is_trained(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="--passages"):
        tune_models("pretraining", 0, tmp_path, tmp_path / "nowhere", pretrained=tiny_model.directory)
