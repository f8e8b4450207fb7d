import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from core.schema.training import TrainingRequest
from core.unlearning import objectives
from core.unlearning.objectives import METHODS, UnknownMethod, describe, fill_training, resolve

SEED_METHODS = {
    "gradient_ascent",
    "random_label",
    "adversarial_label",
    "ascent_descent",
    "ascent_kl",
    "calibrated",
}
FIELD_METHODS = {
    "npo",
    "simnpo",
    "token_npo",
    "dpo",
    "refusal",
    "rmu",
    "undial",
    "weighted_ascent",
    "satimp",
    "ce_u",
    "pdu",
    "task_vector",
}


NEW_METHOD = """
from typing import ClassVar
from core.unlearning.method import YAO_2024, Method, Paper

class SuddenLoss(Method):
    name: ClassVar[str] = "sudden_loss"
    summary: ClassVar[str] = "new"
    formula: ClassVar[str] = "-mean_x (1/n) Σ_t l_t"
    paper: ClassVar[Paper] = YAO_2024

    def forget_term(self, context):
        return lambda rows: -rows.loss
"""


def test_the_catalogue_has_the_methods_of_the_papers_and_calibrated():
    assert set(METHODS) >= SEED_METHODS | FIELD_METHODS


def test_reading_the_catalogue_loads_no_torch():
    program = (
        "import sys; from core.unlearning import objectives as o; [o.describe(name) for name in o.METHODS];"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_new_file_is_a_new_method(tmp_path, monkeypatch):
    (tmp_path / "sudden_loss.py").write_text(NEW_METHOD)
    monkeypatch.setattr(objectives, "__path__", [*objectives.__path__, str(tmp_path)])
    methods = objectives._discovered()
    assert methods["sudden_loss"].name == "sudden_loss"
    assert set(methods) == set(METHODS) | {"sudden_loss"}


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_describes_itself_in_json(name):
    described = json.loads(json.dumps(describe(name)))
    assert described["name"] == name
    assert described["summary"]
    assert described["formula"]
    assert described["source"]["url"].startswith("https://arxiv.org/abs/")
    assert set(described["defaults"]) == set(described["parameters"]["properties"])
    assert set(described["training_defaults"]) == {"small", "large"}
    assert "forget" in described["needs"]


@pytest.mark.parametrize(
    ("name", "parameters", "needs"),
    [
        ("gradient_ascent", {}, {"forget"}),
        ("gradient_ascent", {"retain_term": "descent"}, {"forget", "retain"}),
        ("random_label", {}, {"forget"}),
        ("adversarial_label", {}, {"forget", "original"}),
        ("ascent_descent", {}, {"forget", "retain"}),
        ("ascent_kl", {}, {"forget", "retain", "original"}),
        ("calibrated", {}, {"forget", "retain", "unseen", "original"}),
        ("calibrated", {"retain_term": "none"}, {"forget", "unseen", "original"}),
        ("npo", {}, {"forget", "retain", "original"}),
        ("simnpo", {}, {"forget", "retain"}),
        ("simnpo", {"retain_term": "kl"}, {"forget", "retain", "original"}),
        ("simnpo", {"retain_term": "none"}, {"forget"}),
        ("undial", {"retain_term": "none"}, {"forget", "original"}),
    ],
)
def test_a_method_says_what_it_needs(name, parameters, needs):
    assert resolve(name, parameters).needs() == needs


def test_a_wrong_parameter_is_refused_by_name():
    with pytest.raises(ValidationError) as caught:
        resolve("ascent_kl", {"retain_wieght": 2})
    assert caught.value.errors()[0]["loc"] == ("retain_wieght",)
    with pytest.raises(ValidationError):
        resolve("ascent_kl", {"retain_weight": -1})
    with pytest.raises(ValidationError):
        resolve("ascent_descent", {"retain_term": "kl"})
    with pytest.raises(ValueError, match="there is no method"):
        resolve("erase", {})
    with pytest.raises(UnknownMethod):
        fill_training(TrainingRequest(), "erase", parameters=1, forget_records=1)


def test_small_models_learn_fast_and_large_ones_by_the_papers_recipe():
    def filled(parameters, records=10_000):
        request = TrainingRequest(tune="off")
        return fill_training(request, "ascent_kl", parameters=parameters, forget_records=records)

    assert filled(3_700_000).learning_rate == 3e-4
    large = filled(7_000_000_000)
    assert (large.learning_rate, large.scheduler, large.warmup, large.weight_decay) == (2e-5, "cosine", 0.03, 0)
    assert (large.epochs, large.max_length, large.records_per_step) == (1, 4096, 512)
    rates = [filled(10**power).learning_rate for power in range(6, 12)]
    assert rates == sorted(rates, reverse=True)
    assert filled(7_000_000_000, records=5).records_per_step == 5


@pytest.mark.parametrize(
    ("records", "step", "epochs"),
    [(1, 1, 20), (5, 1, 18), (12, 2, 18), (40, 9, 18), (200, 20, 18), (4000, 20, 18)],
)
def test_a_tuned_training_of_a_larger_model_takes_many_small_steps(records, step, epochs):
    filled = fill_training(TrainingRequest(), "calibrated", parameters=135_000_000, forget_records=records)
    assert (filled.records_per_step, filled.epochs) == (step, epochs)
    kept = fill_training(TrainingRequest(tune="off"), "calibrated", parameters=135_000_000, forget_records=records)
    assert kept.records_per_step == min(20, records)
    small = fill_training(TrainingRequest(), "calibrated", parameters=4_000_000, forget_records=records)
    assert (small.records_per_step, small.epochs) == (min(20, records), 40)


def test_settings_of_a_request_are_kept():
    request = TrainingRequest(
        learning_rate=1e-6, epochs=3, records_per_step=64, warmup=0.0, seed=9, precision="float32", max_length=77
    )
    filled = fill_training(request, "calibrated", parameters=10**10, forget_records=5)
    for name, value in request.model_dump(exclude_none=True).items():
        assert getattr(filled, name) == value


def test_labels_are_uniform_over_the_vocabulary_and_drawn_anew_when_asked():
    import torch

    from core.unlearning.objectives.random_label import uniform_labels

    vocabulary = torch.tensor([4, 7, 9])
    drawn = uniform_labels(vocabulary, 3000, seed=1, epoch=0)
    counts = [int((drawn == token).sum()) for token in vocabulary.tolist()]
    assert sum(counts) == 3000
    assert min(counts) > 900
    assert drawn.equal(uniform_labels(vocabulary, 3000, seed=1, epoch=0))
    assert not drawn.equal(uniform_labels(vocabulary, 3000, seed=1, epoch=1))
    assert not drawn.equal(uniform_labels(vocabulary, 3000, seed=2, epoch=0))


@pytest.mark.parametrize(
    ("method", "given", "gpus", "treatment"),
    [
        ("calibrated", {}, 0, "project"),
        ("calibrated", {}, 2, "add"),
        ("calibrated", {"conflicting_gradients": "add"}, 0, "add"),
        ("npo", {}, 0, "add"),
        ("npo", {"conflicting_gradients": "project"}, 0, "project"),
        ("npo", {"conflicting_gradients": "project"}, 2, "project"),  # refused as it is, and not changed in silence
    ],
)
def test_calibrated_projects_gradients_of_smaller_models_where_they_are_whole(method, given, gpus, treatment):
    request = TrainingRequest.model_validate(given)
    for parameters in (4_000_000, 135_000_000):
        filled = fill_training(request, method, parameters=parameters, forget_records=40, gpus=gpus)
        assert filled.conflicting_gradients == treatment
        assert filled.scheduler == ("wsd" if method == "calibrated" else "linear")
    large = fill_training(request, method, parameters=8_000_000_000, forget_records=40, gpus=gpus)
    assert large.conflicting_gradients == given.get("conflicting_gradients", "add")


@pytest.mark.parametrize(
    ("method", "parameters", "given", "gpus", "defence"),
    [
        ("calibrated", 4_000_000, {}, 0, "attacker"),
        ("calibrated", 20_000_000, {}, 1, "attacker"),
        ("calibrated", 20_000_001, {}, 0, "none"),
        ("calibrated", 4_000_000, {"tune": "off"}, 0, "none"),
        ("calibrated", 4_000_000, {"learning_rate": 1e-4}, 0, "none"),
        ("calibrated", 4_000_000, {}, 2, "none"),
        ("calibrated", 4_000_000, {"master_weights": "bfloat16"}, 0, "none"),
        ("calibrated", 4_000_000, {"relearning_defence": "none"}, 0, "none"),
        ("calibrated", 135_000_000, {"relearning_defence": "both"}, 0, "both"),
        ("npo", 4_000_000, {}, 0, "none"),
    ],
)
def test_small_models_are_defended_against_relearning_where_the_training_is_tuned(
    method, parameters, given, gpus, defence
):
    request = TrainingRequest.model_validate(given)
    filled = fill_training(request, method, parameters=parameters, forget_records=40, gpus=gpus)
    assert filled.relearning_defence == defence
