"""Changes record by record: a model does not differ from itself, and pairs tell more than means."""

import numpy as np
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements import resolve_measurements
from core.evaluation.record_scores import COLUMNS_KEY, record_scores
from core.evaluation.runner import measure_model
from core.evaluation.stats.bootstrap import Resamples, mean_interval
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def test_a_model_does_not_differ_from_itself(loaded: Loaded, tiny_model: TinyModel) -> None:
    sets = {name: tiny_model.sets[name][:4] for name in ("forget", "retain", "unseen")}
    original = EvalContext(lambda: loaded, sets, training=TRAINING, moment="before")
    for name in ("retain", "unseen"):
        record_scores(original, name)
    context = EvalContext(lambda: loaded, sets, training=TRAINING, original=original)
    result = measure_model(context, resolve_measurements(["change"]), model_digest="0" * 64).sets
    assert set(result) == {"retain", "unseen"}
    for figures in result.values():
        ratio = figures.pop("perplexity_ratio")
        assert (ratio.value, ratio.low, ratio.high, ratio.records) == (1.0, 1.0, 1.0, 4)
        assert set(figures) == {"accuracy_change", "probability_change", "extraction_strength_change"}
        assert all((figure.value, figure.low, figure.high) == (0.0, 0.0, 0.0) for figure in figures.values())


def test_changes_are_computed_record_by_record() -> None:
    generator = np.random.default_rng(3)
    losses, changed = generator.normal(3, 1, 50), generator.normal(0.02, 0.01, 50)
    columns = {"accuracy": losses / 10, "probability": losses / 20, "extraction_strength": losses / 30}
    original, context = (EvalContext(lambda: (None, None), {}, training=TRAINING) for _ in range(2))  # type: ignore[arg-type,return-value]
    context.original = original
    context.sets = original.sets = {"retain": [None] * 50}  # type: ignore[list-item]
    original._columns[COLUMNS_KEY, "retain"] = {"loss": losses, **columns}
    other_columns = {name: values - 0.1 for name, values in columns.items()}
    context._columns[COLUMNS_KEY, "retain"] = {"loss": losses + changed, **other_columns}
    (measurement,) = resolve_measurements(["change"])
    result = measurement.measure(context).sets["retain"]
    means = [(counts @ changed) / 50 for counts in Resamples(TRAINING.seed, "retain").blocks(50, rows=1000)]
    low, high = np.exp(mean_interval(changed, np.ones(50), np.concatenate(means)))
    ratio = result["perplexity_ratio"]
    assert ratio.value == pytest.approx(float(np.exp(changed.mean())))
    assert (ratio.low, ratio.high) == (pytest.approx(low), pytest.approx(high))
    for name in columns:
        assert result[f"{name}_change"].value == pytest.approx(-0.1)


def test_without_the_original_model_there_are_no_change_figures(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = EvalContext(lambda: loaded, {"retain": tiny_model.sets["retain"][:2]}, training=TRAINING)
    result = measure_model(context, resolve_measurements(["change"]), model_digest="0" * 64)
    assert result.sets == {}
    assert result.warnings == []
