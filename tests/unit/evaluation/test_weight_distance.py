"""Distances of weights and the loss on the way back: against a plain model in float64, one record at a time."""

import copy
from pathlib import Path

import pytest
import torch

from core.demo.people import people
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements.weight_distance import WeightDistance
from core.evaluation.runner import measure_model
from core.lm import adapter
from core.lm.errors import CoreError
from core.schema.evaluation import MeasurementResult, SetName
from core.schema.policies import Bound
from core.schema.record import Record
from core.schema.training import Lora
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING, Loaded


def changed(loaded: Loaded) -> Loaded:
    """A copy whose weights lie beside those of the files, each layer at its own distance."""
    model, generator = copy.deepcopy(loaded[0]), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            size = 0.02 if "layers.1." in name else 0.01
            weight.add_(size * torch.randn(weight.shape, generator=generator))
    return model, loaded[1]


def context_of(loaded: Loaded, records: list[Record], directory: Path | None) -> EvalContext:
    sets: dict[SetName, list[Record]] = {"forget": records}
    return EvalContext(lambda: copy.deepcopy(loaded), sets, training=TRAINING, original_directory=directory)


def naive_distance(first: Loaded, second: Loaded, part: str | None) -> float:
    """The relative distance of the weights whose names hold the part; of those in no layer for `outside`."""
    difference = size = 0.0
    pairs = zip(first[0].named_parameters(), second[0].named_parameters(), strict=True)
    for (name, weight), (_, end) in pairs:
        if part is None or (".layers." not in name if part == "outside" else part in name):
            difference += (weight.detach().double() - end.detach().double()).square().sum().item()
            size += end.detach().double().square().sum().item()
    return float((difference / size) ** 0.5)


def naive_loss(first: Loaded, second: Loaded, place: float, records: list[Record]) -> float:
    model, tokenizer = copy.deepcopy(first[0]).double(), first[1]
    model.set_attn_implementation("eager")
    losses = []
    with torch.no_grad():
        for weight, end in zip(model.parameters(), second[0].parameters(), strict=True):
            weight.copy_((1 - place) * weight + place * end.double())
        for record in records:
            ids = torch.tensor([tokenizer(record.text)["input_ids"]])
            log_p = torch.log_softmax(model(input_ids=ids).logits[0, :-1], -1)
            losses.append(-log_p.gather(1, ids[0, 1:, None]).mean().item())
    return sum(losses) / len(losses)


def test_distances_and_losses_agree_with_a_plain_model_in_float64(loaded: Loaded, tiny_model: TinyModel) -> None:
    away, records = changed(loaded), tiny_model.sets["forget"]
    result = WeightDistance().measure(context_of(away, records, tiny_model.directory))
    assert result.warnings == result.cut_short == []
    distance, outside = result.across["weight_distance"], result.across["weight_distance_outside"]
    assert distance.value == pytest.approx(naive_distance(away, loaded, None), rel=1e-6)
    assert outside.value == pytest.approx(naive_distance(away, loaded, "outside"), rel=1e-6)
    layers = result.curves["weight_distance_layers"]
    assert [point.step for point in layers] == list(range(loaded[0].config.num_hidden_layers))
    for point in layers:
        assert point.figure.value == pytest.approx(naive_distance(away, loaded, f".layers.{point.step}."), rel=1e-6)
        assert point.figure.low == point.figure.high == point.figure.value
    assert layers[1].figure.value > layers[0].figure.value
    line = result.curves["weight_line_loss"]
    assert [point.step for point in line] == [0, 25, 50, 75, 100]
    for point in line:
        expected = naive_loss(away, loaded, point.step / 100, records)
        assert point.figure.value == pytest.approx(expected, rel=1e-4)
        assert point.figure.low < point.figure.value < (point.figure.high or 0)  # type: ignore[operator]
        assert point.figure.records == len(records)
    assert line[0].figure.value > line[-1].figure.value


def test_the_next_measurement_sees_the_model_as_it_was(loaded: Loaded, tiny_model: TinyModel) -> None:
    away = changed(loaded)
    before = [weight.detach().clone() for weight in away[0].parameters()]
    context = context_of(away, tiny_model.sets["forget"], tiny_model.directory)
    measure_model(context, [WeightDistance()], model_digest="0" * 64)
    assert all(weight.equal(old) for weight, old in zip(context.model.parameters(), before, strict=True))


def test_an_adapter_is_measured_as_the_merged_model_is(loaded: Loaded, tiny_model: TinyModel) -> None:
    def with_adapter(merged: bool) -> MeasurementResult:
        model, tokenizer = copy.deepcopy(loaded)
        torch.manual_seed(0)
        adapter.attach(model, Lora(rank=2))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.02)
        if merged:
            adapter.merge(model)
        context = EvalContext(
            lambda: (model, tokenizer),
            {"forget": tiny_model.sets["forget"]},
            training=TRAINING,
            original_directory=tiny_model.directory,
        )
        return WeightDistance().measure(context)

    beside, merged = with_adapter(False), with_adapter(True)
    assert beside.across == merged.across
    assert beside.across["weight_distance"].value > 0 == beside.across["weight_distance_outside"].value
    assert beside.curves["weight_line_loss"][1:] == merged.curves["weight_line_loss"][1:]


def test_without_the_model_before_nothing_is_measured_and_a_warning_says_so(
    loaded: Loaded, tiny_model: TinyModel
) -> None:
    result = WeightDistance().measure(context_of(loaded, tiny_model.sets["forget"], None))
    assert (result.across, result.curves) == ({}, {})
    assert "the model that this one was made from is not given" in result.warnings[0]


def test_the_files_of_another_model_give_a_warning(
    loaded: Loaded, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = copy.deepcopy(loaded)
    model.resize_token_embeddings(model.get_input_embeddings().num_embeddings + 3)
    result = WeightDistance().measure(context_of((model, tokenizer), people(2, 0), tiny_model.directory))
    assert (result.across, result.curves) == ({}, {})
    assert "the weights are not those of the model before" in result.warnings[0]

    def unreadable(*_: object) -> None:
        raise CoreError("model_unreadable", "no")

    monkeypatch.setattr("core.lm.weight_line.WeightLine.squares", unreadable)
    with pytest.raises(CoreError, match="model_unreadable"):
        WeightDistance().measure(context_of(loaded, people(2, 0), tiny_model.directory))


def test_a_model_without_a_list_of_layers_has_one_distance(
    loaded: Loaded, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_list(*_: object) -> None:
        raise AttributeError("the model has no list of layers")

    monkeypatch.setattr("core.lm.residual_stream.find_layers", no_list)
    result = WeightDistance().measure(context_of(changed(loaded), people(2, 0), tiny_model.directory))
    assert set(result.across) == {"weight_distance"}
    assert set(result.curves) == {"weight_line_loss"}
    assert "no list of layers" in result.warnings[0]


def test_records_and_places_that_are_left_out_are_noted(loaded: Loaded, tiny_model: TinyModel) -> None:
    records = tiny_model.sets["forget"]
    few = WeightDistance(records=3).measure(context_of(changed(loaded), records, tiny_model.directory))
    assert {point.figure.records for point in few.curves["weight_line_loss"]} == {3}
    assert [(cut.what, cut.done, cut.of, cut.reason) for cut in few.cut_short] == [("forget", 3, 8, "records")]
    late = WeightDistance(seconds=1e-9).measure(context_of(changed(loaded), records, tiny_model.directory))
    assert [point.step for point in late.curves["weight_line_loss"]] == [0]
    assert [(cut.what, cut.done, cut.of, cut.reason) for cut in late.cut_short] == [
        ("weight_line_loss", 1, 5, "seconds")
    ]


def test_a_place_without_a_finite_loss_gives_a_warning(
    loaded: Loaded, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(changed(loaded), people(3, 0), tiny_model.directory)
    statistics, calls = context.statistics, []

    def broken_once(records: list[Record], *, label: str) -> object:
        calls.append(label)
        if len(calls) == 2:  # the first pass is that of the model itself
            raise CoreError("not_finite", "broken")
        return statistics(records, label=label)

    monkeypatch.setattr(context, "statistics", broken_once)
    result = WeightDistance().measure(context)
    assert [point.step for point in result.curves["weight_line_loss"]] == [0, 50, 75, 100]
    assert "25 % of the way back" in result.warnings[0]


def test_a_bound_on_a_distance_alone_is_not_about_forgetting() -> None:
    assert Bound(name="a", curve="relearned_forget", against="before", high=1).concerns_forgetting
    assert not Bound(name="a", curve="weight_line_loss", against="retrained", high=1).concerns_forgetting
    assert not Bound(name="a", across="weight_distance", low=0.01).concerns_forgetting
