"""The runner on a model that has memorised forget and retain and never saw unseen."""

import copy

import pytest
import torch
from pydantic import ValidationError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.demo.people import general_sentences, people
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurement import Measurement
from core.evaluation.measurements import resolve_measurements
from core.evaluation.record_scores import record_scores
from core.evaluation.runner import measure_model
from core.lm.errors import CoreError
from core.schema.evaluation import MeasurementChoice, Measurements, SetName
from core.schema.record import Record
from core.schema.training import Training
from tests.tiny_model import TinyModel
from tests.unit.evaluation.statistics_samples import TRAINING
from tests.unit.lm import tiny

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def measured(loaded: Loaded, sets: dict[SetName, list[Record]], training: Training = TRAINING) -> Measurements:
    context = EvalContext(lambda: loaded, sets, training=training)
    return measure_model(context, resolve_measurements(["likelihood", "membership"]), model_digest="0" * 64)


def without_time(result: Measurements) -> Measurements:
    return result.model_copy(update={"seconds": 0, "seconds_of": {}})


def test_memorised_records_have_a_low_perplexity_and_a_high_auc(loaded: Loaded, tiny_model: TinyModel) -> None:
    result = measured(loaded, tiny_model.sets)
    forget, unseen = result.sets["forget"], result.sets["unseen"]
    assert forget["perplexity"].value < 1.4
    assert unseen["perplexity"].value > 10 * forget["perplexity"].value
    assert forget["accuracy"].value > 0.9 > unseen["accuracy"].value
    assert forget["extraction_strength"].value > 0.8 > 0.3 > unseen["extraction_strength"].value
    assert result.attacks["loss"].auc.value == result.attacks["min_k++_20"].auc.value == 1.0
    assert {"loss", "zlib", "min_k_5", "min_k_100", "min_k++_5", "min_k++_100"} <= set(result.attacks)
    assert result.model_digest == "0" * 64
    assert result.seconds > 0


def test_the_same_seed_gives_the_same_figures(loaded: Loaded, tiny_model: TinyModel) -> None:
    first, second = (measured(loaded, tiny_model.sets) for _ in range(2))
    assert without_time(first) == without_time(second)


def test_figures_do_not_depend_on_the_micro_batch(loaded: Loaded, tiny_model: TinyModel) -> None:
    large_batches = measured(loaded, tiny_model.sets)
    small_batches = measured(loaded, tiny_model.sets, TRAINING.model_copy(update={"micro_batch_tokens": 64}))
    for name in ("forget", "unseen"):
        assert large_batches.sets[name]["perplexity"].value == pytest.approx(
            small_batches.sets[name]["perplexity"].value, rel=1e-5
        )


def test_records_cut_into_chunks_stay_one_record(loaded: Loaded, tiny_model: TinyModel) -> None:
    result = measured(loaded, tiny_model.sets, TRAINING.model_copy(update={"max_length": 8}))
    assert result.sets["forget"]["perplexity"].records == len(tiny_model.sets["forget"])


def test_attacks_need_unseen_records_and_general_text_does_not_replace_them(loaded: Loaded) -> None:
    result = measured(loaded, {"forget": people(3, 50), "general": general_sentences(4, 0)})
    assert set(result.sets) == {"forget", "general"}
    assert result.attacks == {}
    assert any("membership" in warning for warning in result.warnings)


def test_measurements_that_lack_the_same_set_share_one_warning(loaded: Loaded) -> None:
    context = EvalContext(lambda: loaded, {"retain": people(3, 50)}, training=TRAINING)
    result = measure_model(
        context, resolve_measurements(["membership", "privleak", "quantized"]), model_digest="0" * 64
    )
    assert result.warnings == [
        "membership, privleak: not measured without records of forget and unseen",
        "quantized: not measured without records of forget",
    ]


def test_missing_probes_give_a_warning_only_for_measurements_chosen_by_name(loaded: Loaded) -> None:
    context = EvalContext(lambda: loaded, {"forget": people(3, 50)}, training=TRAINING)
    of_group = [
        measurement for measurement in resolve_measurements(["standard"]) if measurement.name == "model_utility"
    ]
    assert measure_model(context, of_group, model_digest="0" * 64).warnings == []
    by_name = measure_model(context, resolve_measurements(["model_utility"]), model_digest="0" * 64)
    assert by_name.warnings == ["model_utility: not measured without records of protected"]


def test_few_records_give_figures_with_a_warning_each(loaded: Loaded, tiny_model: TinyModel) -> None:
    sets = tiny_model.sets
    result = measured(loaded, {"forget": sets["forget"][:1], "retain": [], "unseen": sets["unseen"]})
    assert "retain" not in result.sets
    assert result.sets["forget"]["perplexity"].low is None
    assert result.attacks["loss"].auc.low is not None
    assert sum("retain: there is no record" in warning for warning in result.warnings) == 1
    assert sum("forget: one record" in warning for warning in result.warnings) == 1
    assert sum("fewer than 20" in warning for warning in result.warnings) == 2


def test_twenty_records_in_each_set_are_enough_for_no_warning(loaded: Loaded) -> None:
    assert measured(loaded, {"forget": people(20, 60), "unseen": people(20, 61)}).warnings == []


def test_a_wrecked_model_still_has_figures(loaded: Loaded, tiny_model: TinyModel) -> None:
    model, tokenizer = copy.deepcopy(loaded[0]), loaded[1]
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(-4e4)
    result = measured((model, tokenizer), tiny_model.sets)
    assert result.sets["forget"]["perplexity"].value > 1e300
    assert any("beyond what a number can hold" in warning for warning in result.warnings)


def test_a_model_without_finite_probabilities_is_an_error(loaded: Loaded, tiny_model: TinyModel) -> None:
    model, tokenizer = copy.deepcopy(loaded[0]), loaded[1]
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(CoreError) as caught:
        measured((model, tokenizer), tiny_model.sets)
    assert caught.value.code == "not_finite"


def test_measuring_can_stop_between_measurements(loaded: Loaded, tiny_model: TinyModel) -> None:
    begun: list[str] = []

    def stop_at_the_second(measurement: Measurement) -> None:
        begun.append(measurement.name)
        if len(begun) == 2:
            raise InterruptedError

    context = EvalContext(lambda: loaded, tiny_model.sets, training=TRAINING)
    with pytest.raises(InterruptedError):
        measure_model(
            context,
            resolve_measurements(["membership", "likelihood"]),
            model_digest="0" * 64,
            before_each=stop_at_the_second,
        )
    assert begun == ["likelihood", "membership"]


def test_measuring_can_stop_between_sets(loaded: Loaded, tiny_model: TinyModel) -> None:
    asked: list[int] = []

    def stop_at_the_third() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise InterruptedError

    context = EvalContext(lambda: loaded, tiny_model.sets, training=TRAINING, check_stop=stop_at_the_third)
    with pytest.raises(InterruptedError):
        measure_model(context, resolve_measurements(["likelihood"]), model_digest="0" * 64)
    assert set(context._columns) == {("one pass", "forget"), ("one pass", "retain")}


def test_an_error_for_a_record_without_scored_tokens_names_only_its_set() -> None:
    made = (tiny.tiny_model(), tiny.tiny_tokenizer("$A"))
    with pytest.raises(CoreError, match="a record of the unseen set is too short") as caught:
        EvalContext(lambda: made, {}, training=TRAINING).statistics(
            [Record(text="w1 w2"), Record(text="w7")], label="unseen"
        )
    assert "w7" not in str(caught.value)


@pytest.mark.parametrize("name", ["likelihood", "membership", "reference_attack"])
def test_a_limit_on_records_is_noted_and_does_not_shorten_other_measurements(
    loaded: Loaded, tiny_model: TinyModel, name: str
) -> None:
    other = copy.deepcopy(loaded[0])
    with torch.no_grad():
        other.get_output_embeddings().weight.mul_(0.5)
    retrained = EvalContext(lambda: (other, loaded[1]), tiny_model.sets, training=TRAINING, moment="retrained")
    context = EvalContext(lambda: loaded, tiny_model.sets, training=TRAINING, retrained=retrained)
    (limited,) = resolve_measurements([MeasurementChoice.model_validate({"name": name, "records": 5})])
    result = limited.measure(context)
    counts = {figure.records for figures in result.sets.values() for figure in figures.values()}
    counts |= {attack.auc.records for attack in result.attacks.values()}
    assert counts == {5}
    cut = {cut.what: (cut.done, cut.of, cut.reason, cut.measurement) for cut in result.cut_short}
    assert cut["forget"] == (5, 8, "records", name)
    assert cut["unseen"] == (5, 16, "records", name)
    assert {len(record_scores(context, key)["loss"]) for key in ("forget", "unseen")} == {8, 16}
    few_records = {
        key: [records[index] for index in context.subset_indices(key, 5)] for key, records in tiny_model.sets.items()
    }
    retrained_on_few = EvalContext(lambda: (other, loaded[1]), few_records, training=TRAINING)
    context_of_few = EvalContext(lambda: loaded, few_records, training=TRAINING, retrained=retrained_on_few)
    unlimited = resolve_measurements([name])[0].measure(context_of_few)
    assert (unlimited.sets, unlimited.attacks) == (result.sets, result.attacks)
    assert unlimited.cut_short == []


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        *((name, "seconds") for name in ("likelihood", "membership", "reference_attack", "baseline")),
        *((name, budget) for name in ("change", "privleak") for budget in ("seconds", "records")),
    ],
)
def test_a_budget_parameter_without_effect_is_refused(name: str, budget: str) -> None:
    with pytest.raises(ValidationError, match=budget):
        resolve_measurements([MeasurementChoice.model_validate({"name": name, budget: 5})])
