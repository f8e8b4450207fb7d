"""Probes with wrong answers, asked of a real model, beside a loop that asks each answer by itself in float64."""

import copy
import math
from typing import Any

import pytest
import torch
from scipy import stats
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements import resolve_measurements
from core.evaluation.measurements.forget_quality import ForgetQuality
from core.evaluation.measurements.truth_ratio import TruthRatio
from core.evaluation.measurements.wrong_answers import WrongAnswers
from core.evaluation.runner import measure_model
from core.evaluation.scores import answer_probabilities
from core.lm.errors import CoreError
from core.schema.evaluation import Moment, SetName
from core.schema.record import Record
from tests.unit.evaluation.test_runner import TRAINING

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]

PROBES = [
    Record(prompt="Where was Ana born? ", completion="In Pell", paraphrased_answer="Pell", wrong=["In Orm", "Vask"]),
    Record(prompt="Who lives in Pell? ", completion="Ana", wrong=["Bo", "Cy and Di", " ", "E"]),
    Record(text="Ana has a grey cat", paraphrased_answer="Ana owns a grey cat", wrong=["Ana has a green dog"]),
    Record(
        messages=[
            {"role": "user", "content": "And her trade?"},  # type: ignore[list-item]
            {"role": "assistant", "content": "baker"},  # type: ignore[list-item]
        ],
        wrong=["tailor", "smith"],
    ),
]
PLAIN = [Record(text="nobody asks about this"), Record(prompt="nor ", completion="about that", wrong=[" "])]


def context(loaded: Loaded, sets: dict[SetName, list[Record]], **options: Any) -> EvalContext:
    return EvalContext(lambda: loaded, sets, training=TRAINING, **options)


def naive_loss(loaded: Loaded, record: Record) -> float:
    """-log p of a token, the mean over what is scored, by one row after the other through a model in float64."""
    model, tokenizer = loaded
    start = [tokenizer.bos_token_id]
    if record.text is not None:
        ids, first = start + tokenizer(record.text, add_special_tokens=False)["input_ids"], 1
    else:
        turns = record.messages or []
        prompt = record.prompt if record.prompt is not None else "".join(f"{turn.content}\n" for turn in turns[:-1])
        completion = record.completion if record.completion is not None else turns[-1].content
        head = start + tokenizer(prompt, add_special_tokens=False)["input_ids"]
        tail = tokenizer(completion, add_special_tokens=False)["input_ids"]
        ids, first = [*head, *tail, tokenizer.eos_token_id], len(head)
    with torch.no_grad():
        log_p = torch.log_softmax(model(torch.tensor([ids])).logits[0], -1)
    losses = [-float(log_p[place - 1, ids[place]]) for place in range(first, len(ids))]
    return sum(losses) / len(losses)


def naive_ratio(loaded: Loaded, record: Record) -> tuple[float, float]:
    """(r, p_right among wrong) of a record."""
    right = math.exp(-naive_loss(loaded, record))
    other = record.paraphrased_answer
    true = right if other is None else math.exp(-naive_loss(loaded, record.with_scored_text(other)))
    wrong = [math.exp(-naive_loss(loaded, record.with_scored_text(answer))) for answer in record.wrong_answers()]
    return math.prod(wrong) ** (1 / len(wrong)) / true, right / (right + sum(wrong))


def test_wrong_answer_figures_agree_with_a_loop_over_answers(loaded: Loaded) -> None:
    made = context(loaded, {"probes": [*PLAIN, *PROBES], "protected": PROBES[:2], "retain": PLAIN})
    result = measure_model(made, resolve_measurements(["wrong_answers", "truth_ratio"]), model_digest="0" * 64)
    assert set(result.sets) == {"probes", "protected"}
    exact = (copy.deepcopy(loaded[0]).double(), loaded[1])
    ratios, shares = zip(*(naive_ratio(exact, record) for record in PROBES), strict=True)
    probes, protected = result.sets["probes"], result.sets["protected"]
    assert probes["probability_among_wrong"].value == pytest.approx(sum(shares) / 4, rel=1e-4)
    assert protected["probability_among_wrong"].value == pytest.approx(sum(shares[:2]) / 2, rel=1e-4)
    assert probes["truth_ratio"].value == pytest.approx(sum(min(ratio, 1 / ratio) for ratio in ratios) / 4, rel=1e-4)
    assert protected["truth_ratio"].value == pytest.approx(
        sum(max(0.0, 1 - ratio) for ratio in ratios[:2]) / 2, rel=1e-4, abs=1e-6
    )
    assert (probes["truth_ratio"].records, protected["truth_ratio_arithmetic"].records) == (4, 2)
    low, high = probes["truth_ratio"].low, probes["truth_ratio"].high
    assert low is not None
    assert high is not None
    assert low <= probes["truth_ratio"].value <= high
    assert result.warnings == []


def test_answer_losses_are_computed_once_for_all_measurements(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    plain = EvalContext.statistics

    def counted(self: EvalContext, records: list[Record], *, label: str) -> Any:
        passes.append(len(records))
        return plain(self, records, label=label)

    monkeypatch.setattr(EvalContext, "statistics", counted)
    monkeypatch.setattr(answer_probabilities, "BATCH", 3)
    measure_model(context(loaded, {"probes": PROBES}), [WrongAnswers(), TruthRatio()], model_digest="0" * 64)
    assert passes == [4 + 4 + 3, 3]  # own answers, paraphrases and wrong ones of three records, then of the last


def test_wrong_answer_figures_do_not_depend_on_the_batch_size(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    one_batch = WrongAnswers().measure(context(loaded, {"probes": PROBES}))
    monkeypatch.setattr(answer_probabilities, "BATCH", 1)
    batches = WrongAnswers().measure(context(loaded, {"probes": PROBES}))
    together, apart = (result.sets["probes"]["probability_among_wrong"] for result in (one_batch, batches))
    assert together.value == pytest.approx(apart.value, rel=1e-5)


def test_records_without_wrong_answers_give_a_warning_and_no_figure(loaded: Loaded) -> None:
    for measurement in (WrongAnswers(), TruthRatio(), ForgetQuality()):
        result = measurement.measure(context(loaded, {"forget": PLAIN, "probes": PLAIN}))
        assert (result.sets, result.across) == ({}, {})
        assert result.warnings == [f"{measurement.name}: not measured: no record has wrong answers"]
        assert measurement.measure(context(loaded, {"forget": PLAIN})).warnings == []  # nobody asked anything


def test_a_limit_on_records_is_applied_and_noted(loaded: Loaded) -> None:
    result = TruthRatio(records=3).measure(context(loaded, {"probes": PROBES}))
    assert result.sets["probes"]["truth_ratio"].records == 3
    assert [(cut.what, cut.done, cut.of, cut.reason) for cut in result.cut_short] == [("probes", 3, 4, "records")]


def test_records_beyond_the_time_limit_are_left_out_and_noted(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_probabilities, "BATCH", 3)
    result = WrongAnswers(seconds=1e-9).measure(context(loaded, {"probes": PROBES}))
    assert result.sets["probes"]["probability_among_wrong"].records == 3
    assert [(cut.done, cut.of, cut.reason) for cut in result.cut_short] == [(3, 4, "seconds")]


def test_an_error_for_an_answer_without_scored_tokens_names_its_set_and_not_its_text(loaded: Loaded) -> None:
    def none_scored(records: list[Record], *, label: str) -> Any:
        raise CoreError("no_scored_tokens", "record 2 is too short: it has no token to score")

    made = context(loaded, {"probes": PROBES})
    made.statistics = none_scored  # type: ignore[method-assign, assignment]
    with pytest.raises(CoreError, match="an answer of the probes set's probes is too short") as caught:
        WrongAnswers().measure(made)
    assert caught.value.code == "no_scored_tokens"


def scaled(loaded: Loaded, factor: float) -> Loaded:
    model = copy.deepcopy(loaded[0])
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(factor)
    return model, loaded[1]


def quality(loaded: Loaded, other: Loaded | None, moment: Moment = "after", name: SetName = "probes") -> Any:
    records = [Record(prompt=f"Who is {n}? ", completion=f"A{n}", wrong=[f"B{n}", f"C{n}"]) for n in range(24)]
    retrained = None if other is None else context(other, {name: records}, moment="retrained")
    return ForgetQuality().measure(context(loaded, {name: records}, moment=moment, retrained=retrained))


@pytest.mark.parametrize("name", ["probes", "forget"])
def test_forget_quality_of_a_model_against_itself_is_one(loaded: Loaded, name: SetName) -> None:
    result = quality(loaded, loaded, name=name)
    assert result.across["forget_quality"].value == 1.0
    assert result.across["forget_quality_ks"].value == 0.0
    assert result.across["forget_quality"].records == 24
    assert result.warnings == []


def test_forget_quality_tests_the_truth_ratios_of_both_models(loaded: Loaded) -> None:
    other = scaled(loaded, 0.5)
    result = quality(loaded, other)
    records = [Record(prompt=f"Who is {n}? ", completion=f"A{n}", wrong=[f"B{n}", f"C{n}"]) for n in range(24)]
    exact = [(copy.deepcopy(model).double(), tokenizer) for model, tokenizer in (loaded, other)]
    ratios, retrained_ratios = ([naive_ratio(model, record)[0] for record in records] for model in exact)
    expected = stats.ks_2samp(ratios, retrained_ratios)
    assert 0 < expected.pvalue < 1
    assert result.across["forget_quality"].value == pytest.approx(expected.pvalue)
    assert result.across["forget_quality_ks"].value == pytest.approx(expected.statistic)


def test_forget_quality_never_holds_two_models_in_memory(loaded: Loaded) -> None:
    held: list[str] = []

    def loads(name: str) -> Any:
        def load() -> Loaded:
            held.append(name)
            assert (made if name == "retrained" else retrained)._loaded is None
            return loaded

        return load

    retrained = EvalContext(loads("retrained"), {"probes": PROBES}, training=TRAINING, moment="retrained")
    made = EvalContext(loads("model"), {"probes": PROBES}, training=TRAINING, retrained=retrained)
    ForgetQuality().measure(made)
    assert held == ["model", "retrained"]
    assert retrained._loaded is None


def test_forget_quality_without_a_retrained_model_is_left_out_with_a_warning(loaded: Loaded) -> None:
    result = quality(loaded, None)
    assert result.across == {}
    assert result.warnings == ["forget_quality: not measured: there is no retrained model to compare with"]


def test_the_retrained_model_itself_has_answer_losses_but_no_forget_quality(loaded: Loaded) -> None:
    result = quality(loaded, None, moment="retrained")
    assert (result.across, result.warnings) == ({}, [])


def test_forget_quality_on_few_records_has_a_warning(loaded: Loaded) -> None:
    retrained = context(loaded, {"probes": PROBES}, moment="retrained")
    result = ForgetQuality().measure(context(loaded, {"probes": PROBES}, retrained=retrained))
    assert any("fewer than 20" in warning for warning in result.warnings)
