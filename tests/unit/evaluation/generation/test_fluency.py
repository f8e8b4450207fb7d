"""Fluency: diversity and perplexity of the text that a model writes."""

import math

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.eval_context import EvalContext
from core.evaluation.generation.written_text import WrittenText, diversity_columns, perplexity_columns, write_texts
from core.evaluation.measurements import resolve_measurements
from core.evaluation.text.distinct_n import distinct_n
from core.schema.evaluation import MeasurementResult
from core.schema.record import Record
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING
from tests.unit.lm.tiny import EOS, tiny_tokenizer
from tests.unit.lm.tiny import tiny_model as random_model

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def test_distinct_n_of_worked_cases() -> None:
    assert distinct_n([1, 2, 1, 2, 1], 1) == 2 / 5
    assert distinct_n([1, 2, 1, 2, 1], 2) == 2 / 4
    assert distinct_n([1, 2, 1, 2, 1, 2], 4) == 2 / 3
    assert distinct_n([1, 2, 3], 4) is None
    assert distinct_n([], 1) is None


def test_repetition_counts_runs_of_four_and_leaves_short_texts_out() -> None:
    result = diversity_columns([WrittenText([1], [1, 2, 1, 2, 1, 2]), WrittenText([1], [5]), WrittenText([1], [])])
    assert result["fluency_distinct_1"].tolist() == [2 / 6, 1.0]
    assert result["fluency_distinct_2"].tolist() == [2 / 5]
    assert result["fluency_repetition"].tolist() == [pytest.approx(1 / 3)]


def fluency(context: EvalContext) -> MeasurementResult:
    return resolve_measurements(["fluency"])[0].measure(context)


def test_fluency_perplexity_is_of_the_written_tokens_under_the_original_model() -> None:
    model, other = (random_model(seed, dtype=torch.float32) for seed in (0, 1))
    texts = [WrittenText([0, 5, 9], [7, 8]), WrittenText([0, 4], []), WrittenText([3], [6, 6, 6])]
    context = EvalContext(lambda: (model, tiny_tokenizer()), {}, training=TRAINING)
    naive = []
    for text in (texts[0], texts[2]):
        with torch.no_grad():
            log_p = model(input_ids=torch.tensor([text.prefix + text.continuation])).logits[0].double().log_softmax(-1)
        start = len(text.prefix) - 1
        written = [float(log_p[start + index, token]) for index, token in enumerate(text.continuation)]
        naive.append(-np.mean(written))
    assert perplexity_columns(context, texts)["fluency_perplexity"] == pytest.approx(naive, rel=1e-5)

    records = [Record(text=f"w{n} w{n + 1} w{n + 2} w3 w4 w5 w6 w7 w8 w9") for n in range(6)]
    before = EvalContext(lambda: (model, tiny_tokenizer()), {"unseen": records}, training=TRAINING, moment="before")
    after = EvalContext(lambda: (other, tiny_tokenizer()), {"unseen": records}, training=TRAINING, original=before)
    budget = resolve_measurements(["fluency"])[0].budget(after)
    texts_after = write_texts(after, "unseen", limit=None, tokens=128, budget=budget)
    expected = math.exp(perplexity_columns(before, texts_after)["fluency_perplexity"].mean())
    figures = fluency(after).sets["unseen"]
    assert figures["fluency_perplexity"].value == pytest.approx(expected)
    assert figures["fluency_perplexity"].value != pytest.approx(
        fluency(before).sets["unseen"]["fluency_perplexity"].value
    )


def test_a_model_without_its_original_has_no_perplexity(loaded: Loaded, tiny_model: TinyModel) -> None:
    sets = tiny_model.sets
    with_original = fluency(EvalContext(lambda: loaded, sets, training=TRAINING, moment="before"))
    without_original = fluency(EvalContext(lambda: loaded, sets, training=TRAINING))
    assert with_original.warnings == []
    assert without_original.warnings == ["fluency: no perplexity: the model that the job started from is not at hand"]
    assert set(without_original.sets) == {"unseen", "retain"}
    assert set(with_original.sets["unseen"]) - set(without_original.sets["unseen"]) == {"fluency_perplexity"}
    assert (
        with_original.sets["retain"]["fluency_perplexity"].value
        < with_original.sets["unseen"]["fluency_perplexity"].value
    )
    assert with_original == fluency(EvalContext(lambda: loaded, sets, training=TRAINING, moment="before"))


def test_a_model_that_writes_nothing_has_warnings_and_no_figures() -> None:
    model = random_model(dtype=torch.float32)
    model.generation_config.eos_token_id = list(range(97))
    context = EvalContext(
        lambda: (model, tiny_tokenizer()),
        {"unseen": [Record(text="w1 w2 w3"), Record(text="w4")]},
        training=TRAINING,
        moment="before",
    )
    result = fluency(context)
    model.generation_config.eos_token_id = EOS
    assert result.sets == {}
    assert len(result.warnings) == 4
