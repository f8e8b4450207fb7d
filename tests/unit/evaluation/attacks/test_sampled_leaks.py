"""Leaks among many samples of each record: what a model knows by heart comes out in nearly all, other text in none."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.attacks import sampled_leaks
from core.evaluation.eval_context import EvalContext
from core.evaluation.generation.continuation import continuations
from core.evaluation.measurements import MEASUREMENTS, resolve_measurements
from core.evaluation.measurements.leak_at_k import LeakAtK
from core.evaluation.stats.leak_rates import highest_rate, leak_at_k
from core.evaluation.text.overlap import rouge_l
from core.evaluation.text.prefixes import split_prefix
from core.schema.evaluation import MeasurementChoice, MeasurementResult
from core.schema.record import Record
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def measured(loaded: Loaded, forget: list[Record], **parameters: Any) -> MeasurementResult:
    context = EvalContext(lambda: loaded, {"forget": forget}, training=TRAINING)
    choice = MeasurementChoice.model_validate({"name": "leak_at_k", **parameters})
    return resolve_measurements([choice])[0].measure(context)


def test_what_is_known_by_heart_leaks_and_what_is_not_known_does_not(loaded: Loaded, tiny_model: TinyModel) -> None:
    known = measured(loaded, tiny_model.sets["forget"], samples=60)
    figures = known.sets["forget"]
    assert figures["leak_at_k"].value > 0.99
    assert (figures["leak_at_k"].records, [cut.done for cut in known.cut_short]) == (4, [4])
    assert figures["leak_rate_highest"].low is not None
    assert figures["leak_rate_highest"].low > 0.3
    unknown = measured(loaded, tiny_model.sets["unseen"][:1], samples=200).sets["forget"]
    assert (unknown["leak_at_k"].value, unknown["leak_rate_highest"].value) == (0, 0)
    assert unknown["leak_rate_highest"].high == pytest.approx(1 - 0.025 ** (1 / 200))


def test_the_counts_are_those_of_every_sample_drawn_alone(
    loaded: Loaded, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampled_leaks, "ROWS", 5)
    record = tiny_model.sets["retain"][0]
    context = EvalContext(lambda: loaded, {"forget": [record]}, training=TRAINING)
    split = split_prefix(record, loaded[1], length=context.length, chat=TRAINING.chat, tokens=64)
    truth, count = loaded[1].decode(split.continuation), 0
    for seed, rows in ((0, 5), (1, 5), (2, 2)):
        (samples,) = continuations(context, [split.prefix], [len(split.continuation)], samples=rows, seed=seed)
        count += sum(rouge_l(truth, loaded[1].decode(ids))[0] >= 0.9 for ids in samples)
    assert 0 < count <= 12
    figures = measured(loaded, [record], samples=12, k=3).sets["forget"]
    assert figures["leak_at_k"].value == pytest.approx(leak_at_k(count, 12, 3))
    highest = figures["leak_rate_highest"]
    assert (highest.value, highest.low, highest.high) == highest_rate(np.array([float(count)]), 12, level=0.95)


def test_a_continuation_that_can_be_guessed_is_left_out(loaded: Loaded, tiny_model: TinyModel) -> None:
    short = Record(prompt="Who is it?", completion=" Yes.")
    assert measured(loaded, [short], samples=10) == MeasurementResult(
        warnings=["leak_at_k: forget: 1 of 1 records have a continuation so short that it is guessed"]
    )
    beside = measured(loaded, [short, tiny_model.sets["forget"][0]], samples=10)
    assert beside.sets["forget"]["leak_at_k"].records == 1


def test_time_that_is_up_leaves_out_all_records_but_the_first(loaded: Loaded, tiny_model: TinyModel) -> None:
    found = measured(loaded, tiny_model.sets["forget"], seconds=1e-9, samples=10)
    assert found.sets["forget"]["leak_at_k"].records == 1
    assert [(cut.done, cut.of, cut.reason) for cut in found.cut_short] == [(4, 8, "records"), (1, 4, "seconds")]


def test_no_more_samples_are_chosen_than_drawn() -> None:
    assert MEASUREMENTS["leak_at_k"] is LeakAtK
    with pytest.raises(ValidationError, match="k is at most `samples`"):
        LeakAtK(samples=5, k=6)
