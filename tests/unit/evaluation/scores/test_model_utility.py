"""Model utility: worked by hand, against loops, and on a real model."""

import statistics

import numpy as np
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.budget import Budget
from core.evaluation.eval_context import EvalContext
from core.evaluation.generation import greedy_answers
from core.evaluation.measurements.model_utility import ModelUtility
from core.evaluation.measurements.truth_ratio import TruthRatio
from core.evaluation.measurements.wrong_answers import WrongAnswers
from core.evaluation.record_scores import record_scores
from core.evaluation.scores.model_utility import Part, harmonic_mean, model_utility
from core.evaluation.stats.bootstrap import Resamples
from core.schema.record import Record
from tests.tiny_model import TinyModel
from tests.unit.evaluation.scores.test_wrong_answers import context
from tests.unit.evaluation.test_runner import TRAINING

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]
RESAMPLES = Resamples(0, "utility", 200)


def part(values: list[float], weights: list[float] | None = None) -> Part:
    return np.array(values), np.array(weights or [1.0] * len(values))


def test_the_harmonic_mean_is_zero_if_a_part_is_zero() -> None:
    with np.errstate(all="raise", divide="warn"):
        assert harmonic_mean(np.array([[0.5, 0.25], [0.0, 1.0]])).tolist() == [pytest.approx(1 / 3), 0.0]


def test_model_utility_is_the_harmonic_mean_of_all_parts_of_all_groups() -> None:
    groups = {
        "retain": {"probability": part([0.2, 0.4]), "rouge": part([1.0, 0.5])},
        "facts": {"probability": part([0.6, 9.0], [1.0, 0.0])},
    }
    result = model_utility(groups, RESAMPLES)
    assert result.value == pytest.approx(statistics.harmonic_mean([0.3, 0.75, 0.6]))
    assert result.records == 4
    assert result.low is not None
    assert result.high is not None
    assert result.low < result.value < result.high


def test_the_interval_of_model_utility_resamples_records_within_each_group() -> None:
    generator = np.random.default_rng(2)
    first_part, second_part = generator.random((2, 9))
    third_part = generator.random(5)
    weights = np.array([1.0, 1, 0, 1, 1])
    groups = {"a": {"p": (first_part, np.ones(9)), "q": (second_part, np.ones(9))}, "b": {"p": (third_part, weights)}}
    result = model_utility(groups, RESAMPLES)
    expected = []
    draws = zip(
        next(iter(Resamples(0, "utility a", 200).blocks(9, rows=200))),
        next(iter(Resamples(0, "utility b", 200).blocks(5, rows=200))),
        strict=True,
    )
    for first, second in draws:
        left = sum(second[place] * weights[place] for place in range(5))
        mean = (
            sum(second[p] * weights[p] * third_part[p] for p in range(5)) / left
            if left
            else third_part[weights > 0].mean()
        )
        parts = [sum(first[p] * values[p] for p in range(9)) / 9 for values in (first_part, second_part)]
        expected.append(statistics.harmonic_mean([*parts, mean]))
    students = (5 / 4) ** 0.5 * 2.776445 / 1.959964  # of t tables: 4 degrees of freedom, of the smaller group
    ends = result.value + students * (np.quantile(expected, [0.025, 0.975]) - result.value)
    assert (result.low, result.high) == pytest.approx(tuple(ends), rel=1e-6)


def test_a_resample_without_a_parts_records_keeps_the_part() -> None:
    result = model_utility({"a": {"p": part([0.5, 0.9, 0.9, 0.9], [1.0, 0, 0, 0])}}, RESAMPLES)
    assert (result.value, result.low, result.high) == (0.5, 0.5, 0.5)


def test_single_records_have_no_interval() -> None:
    result = model_utility({"a": {"p": part([0.5])}, "b": {"p": part([0.25])}}, RESAMPLES)
    assert (result.value, result.low, result.high) == (pytest.approx(1 / 3), None, None)


PROTECTED = [
    *(Record(prompt=f"Who is {n}? ", completion=f"A{n}", wrong=[f"B{n}", "C"], group="retain") for n in range(3)),
    *(Record(prompt=f"Where is {n}? ", completion=f"In D{n}", wrong=[f"In E{n}"], group="facts") for n in range(3)),
]


def test_the_parts_of_model_utility_equal_the_single_measurements(loaded: Loaded) -> None:
    made = context(loaded, {"protected": PROTECTED})
    result = ModelUtility().measure(made)
    figures = result.sets["protected"]
    retain, facts = (context(loaded, {"protected": records}) for records in (PROTECTED[:3], PROTECTED[3:]))
    plain = record_scores(retain, "protected")["probability"].mean()
    among = WrongAnswers().measure(facts).sets["protected"]["probability_among_wrong"].value
    assert figures["utility_probability_retain"].value == pytest.approx(plain, rel=1e-5)
    assert figures["utility_probability_facts"].value == pytest.approx(among, rel=1e-5)
    for name, alone in (("retain", retain), ("facts", facts)):
        ratio = TruthRatio().measure(alone).sets["protected"]["truth_ratio"].value
        assert figures[f"utility_truth_ratio_{name}"].value == pytest.approx(ratio, rel=1e-4, abs=1e-7)
    parts = [figure.value for figure in figures.values()]
    assert len(parts) == 6
    assert result.across["model_utility"].value == pytest.approx(
        statistics.harmonic_mean(parts) if min(parts) > 0 else 0.0
    )
    mixed = ModelUtility(plain=[]).measure(made).sets["protected"]["utility_probability_retain"].value
    assert mixed != pytest.approx(plain, rel=1e-3)


def test_a_model_that_knows_its_probes_has_a_high_utility(loaded: Loaded, tiny_model: TinyModel) -> None:
    known = [record.model_copy(update={"group": "known"}) for record in tiny_model.sets["retain"][:4]]
    result = ModelUtility().measure(context(loaded, {"protected": known}))
    figures = result.sets["protected"]
    assert set(figures) == {"utility_probability_known", "utility_rouge_known"}
    assert result.across["model_utility"].value > 0.8
    assert figures["utility_rouge_known"].value > 0.9
    assert any("known has no wrong answers" in warning for warning in result.warnings)


def test_a_part_without_time_leaves_model_utility_out_with_a_warning(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greedy_answers, "BATCH", 3)
    result = ModelUtility(seconds=1e-9).measure(context(loaded, {"protected": PROTECTED}))
    assert result.across == {}
    assert any("no time for rouge of facts" in warning for warning in result.warnings)
    assert [(cut.done, cut.of, cut.reason) for cut in result.cut_short] == [(3, 6, "seconds")]


def test_a_limit_on_records_is_noted_once(loaded: Loaded) -> None:
    result = ModelUtility(records=4).measure(context(loaded, {"protected": PROTECTED}))
    assert [(cut.done, cut.of, cut.reason) for cut in result.cut_short] == [(4, 6, "records")]


def test_an_answer_follows_the_prompt_and_ends_before_a_stop_text(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = EvalContext(lambda: loaded, {}, training=TRAINING)
    written = loaded[1]("In the town.\n\nQuestion: who?", add_special_tokens=False)["input_ids"]
    requested_lengths: list[int] = []

    def continuations(_: EvalContext, prefixes: list[list[int]], lengths: list[int]) -> list[list[list[int]]]:
        requested_lengths.extend(lengths)
        return [[written] for _ in prefixes]

    monkeypatch.setattr(greedy_answers, "continuations", continuations)
    record = Record(prompt="Where? ", completion="In the old town")
    count = len(loaded[1](record.completion, add_special_tokens=False)["input_ids"]) + 1
    assert greedy_answers.greedy_answers(context, [record], stops=("\n\n",)) == [("In the old town", "In the town.")]
    assert greedy_answers.greedy_answers(context, [record], tokens=9)[0][1] == "In the town.\n\nQuestion: who?"
    assert requested_lengths == [count, 9]
    budget = Budget(ModelUtility.name, check_stop=lambda: None)
    context.sets["protected"] = [record]
    columns = greedy_answers.answer_overlap(context, "protected", [0], budget, stops=("\n\n",), words="latin")
    assert (columns["recall"][0], columns["f1"][0]) == (pytest.approx(3 / 4), pytest.approx(2 * 0.75 / 1.75))


def test_rouge_can_compare_stems_and_latin_words() -> None:
    pairs = [("she writes books", "she wrote a book"), ("Ана живёт", "Ана живёт")]
    any_words, latin, stems = (greedy_answers._rouge(pairs, words)["recall"] for words in ("any", "latin", "stems"))
    assert any_words.tolist() == pytest.approx([1 / 3, 1.0])
    assert latin.tolist() == pytest.approx([1 / 3, 0.0])
    assert stems.tolist() == pytest.approx([2 / 3, 0.0])
