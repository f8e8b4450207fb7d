"""Fine-tuning to bring text back: against a plain loop over one record at a time in float64, and by hand."""

import copy
import math

import pytest
import torch

from core.demo.people import general_sentences, people
from core.evaluation.attacks.quantization import int4, round_weights
from core.evaluation.attacks.relearning import FineTuning, half_steps
from core.evaluation.attacks.relearning_attacks import LARGE, RELEARNING_ATTACKS, default_learning_rate
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements import resolve_measurements
from core.evaluation.measurements.relearned import Relearned
from core.evaluation.runner import measure_model
from core.evaluation.scores.likelihood import cross_entropies
from core.evaluation.text.rewording import reworded
from core.schema.evaluation import Figure, MeasurementResult, Measurements, Moment, SetName, StepFigure
from core.schema.figure_names import RELEARNING_ATTACK_NAMES, RelearningAttackName
from core.schema.record import Record
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING, Loaded

RATE = 1e-3
BOTH: tuple[RelearningAttackName, ...] = ("forget", "unrelated")
QUICK = Relearned(attacks=BOTH, shown=2, steps=3, every=2, learning_rate=RATE)


def context_of(
    loaded: Loaded,
    sets: dict[SetName, list[Record]],
    *,
    moment: Moment = "after",
) -> EvalContext:
    return EvalContext(lambda: copy.deepcopy(loaded), sets, training=TRAINING, moment=moment)


def naive(
    loaded: Loaded,
    shown: list[Record],
    held_out: list[Record],
    steps: int,
    *,
    optimizer_class: type[torch.optim.Optimizer] = torch.optim.AdamW,
    rate: float = RATE,
) -> tuple[list[float], list[float]]:
    """(the loss on `shown` before each step, the perplexity of `held_out` after each step, step 0 included)."""
    model, tokenizer = copy.deepcopy(loaded[0]).double(), loaded[1]
    model.set_attn_implementation("eager")

    def loss(record: Record) -> torch.Tensor:
        ids = torch.tensor([tokenizer(record.text)["input_ids"]])
        log_p = torch.log_softmax(model(input_ids=ids).logits[0, :-1], -1)
        return -log_p.gather(1, ids[0, 1:, None]).mean()

    def perplexity() -> float:
        with torch.no_grad():
            return math.exp(sum(loss(record).item() for record in held_out) / len(held_out))

    optimizer = optimizer_class(model.parameters(), lr=rate, weight_decay=0.0)
    losses, perplexities = [], [perplexity()]
    for _ in range(steps):
        mean = torch.stack([loss(record) for record in shown]).mean()
        torch.autograd.backward(mean)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(mean.item())
        perplexities.append(perplexity())
    return losses, perplexities


def test_fine_tuning_steps_agree_with_a_plain_loop(loaded: Loaded) -> None:
    shown, held_out = people(3, 70), people(4, 71)
    losses, perplexities = naive(loaded, shown, held_out, 3)
    context = context_of(loaded, {"forget": held_out})
    tuning = FineTuning(context.model, context.encode(shown), learning_rate=RATE, training=TRAINING)
    assert [tuning.step() for _ in range(3)] == pytest.approx(losses, rel=1e-4)
    after = cross_entropies(context.statistics(held_out, label="forget"))
    assert math.exp(after.mean()) == pytest.approx(perplexities[-1], rel=1e-4)


@pytest.mark.parametrize("change", [{"micro_batch_tokens": 64}, {"max_length": 16}, {"checkpointing": True}])
def test_every_record_counts_the_same_whatever_its_chunks_and_batches(loaded: Loaded, change: dict[str, int]) -> None:
    training = TRAINING.model_copy(update=change)
    context = EvalContext(lambda: copy.deepcopy(loaded), {"forget": people(1, 0)}, training=training)
    shown = people(3, 70)
    tuning = FineTuning(context.model, context.encode(shown), learning_rate=RATE, training=training)
    before = cross_entropies(context.statistics(shown, label="forget")).mean()
    assert tuning.step() == pytest.approx(before, rel=1e-5)
    assert tuning.step() < before


def test_relearning_curves_are_of_records_that_were_not_trained_on(loaded: Loaded, tiny_model: TinyModel) -> None:
    sets: dict[SetName, list[Record]] = {
        "forget": people(6, 72),
        "unseen": tiny_model.sets["unseen"][:4],
        "general": general_sentences(5, 0),
    }
    context = context_of(loaded, sets)
    result = QUICK.measure(context)
    shown = context.subset_indices("forget", 2)
    held_out = [record for place, record in enumerate(sets["forget"]) if place not in shown]
    trained = [sets["forget"][place] for place in shown]
    for name, records, measured in (
        ("relearned_forget", trained, held_out),
        ("relearned_unseen", trained, sets["unseen"]),
        ("relearned_unrelated", general_sentences(5, 0)[:2], held_out),
    ):
        wanted = naive(loaded, records, measured, 3)[1]
        curve = result.curves[name]
        assert [place.step for place in curve] == [0, 2, 3]
        assert [place.figure.value for place in curve] == pytest.approx([wanted[0], *wanted[2:]], rel=1e-4)
        assert all(place.figure.records == len(measured) for place in curve)
        assert all(place.figure.low < place.figure.value < (place.figure.high or 0) for place in curve)  # type: ignore[operator]
    assert result.warnings == result.cut_short == []


@pytest.mark.parametrize(
    ("attack", "optimizer_class", "rate", "shown"),
    [
        ("shown_1", torch.optim.AdamW, RATE, 1),
        ("shown_100", torch.optim.AdamW, RATE, 3),  # a third of all
        ("rate_1e-5", torch.optim.AdamW, 1e-5, 2),
        ("rate_3e-4", torch.optim.AdamW, 3e-4, 2),
        ("sgd", torch.optim.SGD, RATE, 2),
    ],
)
def test_each_attack_trains_on_its_records_with_its_optimiser(
    loaded: Loaded,
    attack: RelearningAttackName,
    optimizer_class: type[torch.optim.Optimizer],
    rate: float,
    shown: int,
) -> None:
    context = context_of(loaded, {"forget": people(9, 72)})
    result = QUICK.model_copy(update={"attacks": (attack,)}).measure(context)
    pool = context.subset_indices("forget", max(shown, 2))
    records = [context.sets["forget"][index] for index in context.subset_indices("forget", shown)]
    held_out = [record for index, record in enumerate(context.sets["forget"]) if index not in pool]
    wanted = naive(loaded, records, held_out, 3, optimizer_class=optimizer_class, rate=rate)[1]
    values = [point.figure.value for point in result.curves[f"relearned_{attack}"]]
    assert values == pytest.approx([wanted[0], *wanted[2:]], rel=1e-4)
    assert set(result.curves) == {f"relearned_{attack}"}


def test_reworded_and_retain_text_takes_the_place_of_the_shown_records(loaded: Loaded) -> None:
    sets: dict[SetName, list[Record]] = {"forget": people(6, 72), "retain": people(60, 74)}
    context = context_of(loaded, sets)
    result = QUICK.model_copy(update={"attacks": ("reworded", "retain")}).measure(context)
    shown = context.subset_indices("forget", 2)
    held_out = [record for index, record in enumerate(sets["forget"]) if index not in shown]
    texts = {"reworded": [reworded(sets["forget"][index]) for index in shown], "retain": sets["retain"][:50]}
    for attack, records in texts.items():
        wanted = naive(loaded, records, held_out, 3)[1]
        values = [point.figure.value for point in result.curves[f"relearned_{attack}"]]
        assert values == pytest.approx([wanted[0], *wanted[2:]], rel=1e-4)


def test_rewording_keeps_the_words_and_changes_their_order() -> None:
    assert reworded(Record(text="A is 1. B is 2! C?")).text == " B is 2! C? A is 1."
    assert reworded(Record(prompt="Who?", completion="Ada, of Omek")) == Record(
        prompt="Who?", completion=" of Omek Ada,"
    )
    assert reworded(Record(text="One clause")).text == " In other words: One clause"


def test_an_attack_may_start_from_the_copy_in_four_bits(loaded: Loaded) -> None:
    context = context_of(loaded, {"forget": people(6, 72)})
    result = QUICK.model_copy(update={"attacks": ("int4",)}).measure(context)
    copied = (copy.deepcopy(loaded[0]), loaded[1])
    round_weights(copied[0], lambda weight: int4(weight, group=128))
    shown = context.subset_indices("forget", 2)
    held_out = [record for index, record in enumerate(context.sets["forget"]) if index not in shown]
    wanted = naive(copied, [context.sets["forget"][index] for index in shown], held_out, 3)[1]
    values = [point.figure.value for point in result.curves["relearned_int4"]]
    assert values[1:] == pytest.approx(wanted[2:], rel=1e-4)
    assert values[0] != pytest.approx(wanted[0], rel=1e-4)  # the model itself


def test_an_adapter_learns_and_leaves_the_weights_as_they_are(loaded: Loaded) -> None:
    context = context_of(loaded, {"forget": people(3, 0)})
    before = {name: weight.detach().clone() for name, weight in context.model.named_parameters()}
    losses = []
    for _ in range(2):
        tuning = FineTuning(
            context.model, context.encode(people(3, 70)), learning_rate=1e-2, training=TRAINING, optimizer="lora"
        )
        losses.append([tuning.step() for _ in range(4)])
        trained = dict(context.model.named_parameters())
        assert all("lora" in name for name, weight in trained.items() if weight.requires_grad)
        kept = {name.replace(".base_layer", ""): weight for name, weight in trained.items() if "lora" not in name}
        assert all(torch.equal(weight, before[name]) for name, weight in kept.items())
        context.unload_model()
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


def test_thorough_makes_every_attack_and_standard_the_first_one(loaded: Loaded) -> None:
    (standard,) = [each for each in resolve_measurements(["standard"]) if isinstance(each, Relearned)]
    (thorough,) = [each for each in resolve_measurements(["thorough", "standard"]) if isinstance(each, Relearned)]
    assert (standard.attacks, thorough.attacks) == (("forget",), RELEARNING_ATTACK_NAMES)
    assert thorough.steps > standard.steps
    sets: dict[SetName, list[Record]] = {"forget": people(6, 72), "retain": people(3, 74)}
    quick = thorough.model_copy(update={"steps": 1, "shown": 2})
    result = quick.measure(context_of(loaded, sets))
    assert set(result.curves) == {f"relearned_{attack}" for attack in RELEARNING_ATTACK_NAMES}
    with pytest.raises(ValueError, match="named twice"):
        Relearned(attacks=("sgd", "sgd"))


def test_only_the_first_point_is_measured_before_unlearning(loaded: Loaded, tiny_model: TinyModel) -> None:
    before = QUICK.measure(context_of(loaded, tiny_model.sets, moment="before")).curves
    after = QUICK.measure(context_of(loaded, tiny_model.sets)).curves
    assert before == {"relearned_forget": after["relearned_forget"][:1]}


def test_two_forget_records_are_only_measured_while_unrelated_text_is_learned(loaded: Loaded) -> None:
    result = QUICK.measure(context_of(loaded, {"forget": people(2, 73), "retain": people(3, 74)}))
    assert set(result.curves) == {"relearned_unrelated"}
    assert result.curves["relearned_unrelated"][0].figure.records == 2
    assert any("under 3 forget records" in warning for warning in result.warnings)


def test_without_unrelated_text_there_is_no_curve_for_it(loaded: Loaded) -> None:
    result = QUICK.measure(context_of(loaded, {"forget": people(3, 73)}))
    assert set(result.curves) == {"relearned_forget"}
    assert any("no relearned_unrelated: there is no unrelated text" in warning for warning in result.warnings)


def test_records_and_variants_that_are_left_out_are_noted(loaded: Loaded, tiny_model: TinyModel) -> None:
    few = QUICK.model_copy(update={"records": 3}).measure(context_of(loaded, tiny_model.sets))
    assert few.curves["relearned_forget"][-1].figure.records == 3
    assert [(cut.what, cut.done, cut.of) for cut in few.cut_short] == [("forget", 3, 6), ("unseen", 3, 16)]
    late = QUICK.model_copy(update={"seconds": 1e-9}).measure(context_of(loaded, tiny_model.sets))
    assert [place.step for place in late.curves["relearned_forget"]] == [0]
    assert next((cut.what, cut.done, cut.of, cut.reason) for cut in late.cut_short) == (
        "relearned_forget",
        0,
        3,
        "seconds",
    )


def test_a_diverging_fine_tuning_gives_a_warning(loaded: Loaded, tiny_model: TinyModel) -> None:
    wild = Relearned(attacks=BOTH, shown=2, steps=6, learning_rate=1.0).model_copy(update={"learning_rate": 1e30})
    result = wild.measure(context_of(loaded, tiny_model.sets))
    assert result.curves == result.across == {}
    assert any("learning rate is too high" in warning for warning in result.warnings)


def test_fine_tuning_that_does_not_fit_in_memory_gives_a_warning(
    loaded: Loaded, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: FineTuning) -> float:
        raise MemoryError

    monkeypatch.setattr(FineTuning, "step", full)
    result = QUICK.measure(context_of(loaded, tiny_model.sets))
    assert result.curves == {}
    assert any("does not fit in memory" in warning for warning in result.warnings)


def test_large_models_get_an_adapter_and_a_lower_learning_rate() -> None:
    assert [default_learning_rate("adamw", weights) for weights in (LARGE - 1, LARGE)] == [1e-4, 2e-5]
    forget = RELEARNING_ATTACKS["forget"]
    assert [forget.optimizer_for(weights) for weights in (LARGE - 1, LARGE)] == ["adamw", "lora"]
    assert not Relearned().trains_all_weights(LARGE)
    assert Relearned(attacks=("forget", "sgd")).trains_all_weights(LARGE)


def curve(*losses: float) -> list[StepFigure]:
    """With a place every 5 steps."""
    return [
        StepFigure(step=5 * place, figure=Figure(value=math.exp(loss), low=None, high=None, records=4))
        for place, loss in enumerate(losses)
    ]


def test_half_steps_is_where_the_curve_crosses_the_middle() -> None:
    assert half_steps(curve(4.0, 3.0, 1.0), math.exp(1.0)) == pytest.approx(5 + 5 * 0.5 / 2)
    assert half_steps(curve(4.0, 2.0), 1.0) == pytest.approx(5.0)
    assert half_steps(curve(4.0, 3.9, 2.1), 1.0) is None
    assert half_steps(curve(4.0, 5.0, 1.0), 1.0) == pytest.approx(5 + 5 * 3 / 4)


def test_half_steps_needs_the_original_models_figures(loaded: Loaded, tiny_model: TinyModel) -> None:
    def of(*losses: float) -> MeasurementResult:
        return MeasurementResult(curves={"relearned_forget": curve(*losses)})

    original = Measurements(seconds=0, model_digest="0" * 64, curves=of(1.0).curves)
    steps = Relearned().compare_with_original(original, of(4.0, 3.0, 1.0)).across["relearned_half_steps"]
    assert (steps.value, steps.records) == (pytest.approx(6.25), 4)
    assert "not grown" in Relearned().compare_with_original(original, of(1.0, 0.5)).warnings[0]
    assert "not back within 10 steps" in Relearned().compare_with_original(original, of(4.0, 3.9, 3.8)).warnings[0]
    assert Relearned().compare_with_original(original, MeasurementResult()) == MeasurementResult()

    context = context_of(loaded, {"forget": people(6, 72)})
    alone = measure_model(context, [QUICK], model_digest="0" * 64)
    assert "relearned_half_steps" not in alone.across
    first = alone.curves["relearned_forget"][0].figure.value
    worse = original.model_copy(update={"curves": of(math.log(first) - 0.01).curves})
    held = measure_model(context_of(loaded, context.sets), [QUICK], model_digest="0" * 64, original=worse)
    assert 0 < held.across["relearned_half_steps"].value < 3


def test_symmetric_scores_compare_what_both_models_gain(loaded: Loaded, tiny_model: TinyModel) -> None:
    sets: dict[SetName, list[Record]] = {"forget": people(6, 72), "general": general_sentences(5, 0)}
    model, generator = copy.deepcopy(loaded[0]), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=generator)
    other = (model, loaded[1])
    retrained = context_of(other, sets, moment="retrained")
    assert set(QUICK.measure(retrained).across) == {"relearned_worst"}
    context = EvalContext(lambda: copy.deepcopy(loaded), sets, training=TRAINING, retrained=retrained)
    result = QUICK.measure(context)
    shown = context.subset_indices("forget", 2)
    measured = [record for index, record in enumerate(sets["forget"]) if index not in shown]
    trained = [sets["forget"][index] for index in shown]
    unrelated = sets["general"][:2]
    for name, records in (
        ("relearned_symmetric", trained),
        ("relearned_unrelated_symmetric", unrelated),
    ):
        ends = [naive(each, records, measured, 3)[1] for each in (loaded, other)]
        gain, other_gain = (math.log(perplexities[0] / perplexities[-1]) for perplexities in ends)
        expected = 1 - abs(gain - other_gain) / (abs(gain) + abs(other_gain))
        score = result.across[name]
        assert score.value == pytest.approx(expected, abs=2e-3)
        assert (score.records, result.notes[name]) == (4, "after 3 steps")
        assert score.low is not None
        assert score.high is not None
        assert 0 <= score.low <= score.value <= score.high <= 1
    assert result.warnings == []

    # the worst of the four points that both attacks have after their first steps
    curves = {
        attack: naive(loaded, texts, measured, 3)[1] for attack, texts in zip(BOTH, (trained, unrelated), strict=True)
    }
    others = {
        attack: naive(other, texts, measured, 3)[1] for attack, texts in zip(BOTH, (trained, unrelated), strict=True)
    }
    points = [(attack, step) for attack in BOTH for step in (2, 3)]
    lowest = min(points, key=lambda point: curves[point[0]][point[1]])
    least = min(points, key=lambda point: curves[point[0]][point[1]] / others[point[0]][point[1]])
    for name, (attack, step), expected in (
        ("relearned_worst", lowest, curves[lowest[0]][lowest[1]]),
        ("relearned_worst_ratio", least, curves[least[0]][least[1]] / others[least[0]][least[1]]),
    ):
        assert result.across[name].value == pytest.approx(expected, rel=1e-3)
        assert result.notes[name] == f"attack {attack}, after {step} steps"


def test_a_model_relearns_as_itself_and_without_a_common_step_there_is_no_score(loaded: Loaded) -> None:
    sets: dict[SetName, list[Record]] = {"forget": people(6, 72)}
    retrained = context_of(loaded, sets, moment="retrained")
    context = EvalContext(lambda: copy.deepcopy(loaded), sets, training=TRAINING, retrained=retrained)
    without = QUICK.measure(context)
    assert set(without.across) == {"relearned_worst"}
    assert any("no step that both models made" in warning for warning in without.warnings)
    QUICK.model_copy(update={"steps": 2}).measure(retrained)  # as where its time was up
    result = QUICK.measure(context)
    scores = {name: (score.value, score.low, score.high) for name, score in result.across.items()}
    assert scores.pop("relearned_worst")[0] > 1
    assert scores == {"relearned_symmetric": (1, 1, 1), "relearned_worst_ratio": (1, 1, 1)}
    assert result.notes["relearned_symmetric"] == "after 2 steps"
