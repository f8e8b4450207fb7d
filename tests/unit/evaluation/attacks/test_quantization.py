"""Rounding to 8 and 4 bits: by hand, against a loop over single weights in float64, and against torchao."""

import copy
import math
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from core.evaluation.attacks.quantization import int4, int8, round_weights
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements.quantized import Quantized
from core.evaluation.record_scores import record_scores
from core.lm import adapter
from core.lm.token_statistics import TokenStatistics
from core.schema.evaluation import Figure
from core.schema.record import Record
from core.schema.training import Lora
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING, Loaded


def matrix(rows: int, width: int) -> torch.Tensor:
    """Random weights with a row of zeros, a row above zero and a row below zero."""
    made = torch.randn(rows, width, generator=torch.Generator().manual_seed(3)) * 0.05
    made[0], made[1], made[2] = 0, made[1].abs() + 0.1, -made[2].abs()
    return made


def nearest(value: float) -> int:
    """Rounds to the nearest integer, halves to even. The extreme of a row is a half, up to float32's last digits."""
    return round(round(value, 4))


def naive_int8(weight: torch.Tensor) -> list[list[float]]:
    result = []
    for row in weight.double().tolist():
        scale = max(max(abs(value) for value in row) / 127.5, 2**-23)
        result.append([min(127, max(-128, nearest(value / scale))) * scale for value in row])
    return result


def naive_int4(weight: torch.Tensor, group: int) -> list[list[float]]:
    result = []
    for row in weight.double().tolist():
        line: list[float] = []
        for start in range(0, len(row), group):
            part = row[start : start + group]
            low, high = min(0.0, *part), max(0.0, *part)
            scale = max((high - low) / 15, 2**-23)
            zero = min(15, max(0, -nearest(low / scale)))
            line += [(min(15, max(0, nearest(value / scale) + zero)) - zero) * scale for value in part]
        result.append(line)
    return result


def test_rounding_to_eight_bits_by_hand() -> None:
    scale = 1.275 / 127.5  # 0.01
    result = int8(torch.tensor([[1.275, 0.014, -0.016, 0.0, -1.275]]))[0].tolist()
    assert result == pytest.approx([127 * scale, 0.01, -0.02, 0.0, -128 * scale])


def test_rounding_to_four_bits_by_hand_group_by_group() -> None:
    # of the first pair the step is 0.1 and 0 is level 10; of the second 1, and 0 is level 0; the last is alone
    result = int4(torch.tensor([[-1.0, 0.46, 15.0, 6.6, 0.3]]), 2)[0].tolist()
    step = 1.46 / 15
    assert result == pytest.approx([-10 * step, 5 * step, 15.0, 7.0, 0.3], rel=1e-6)


@pytest.mark.parametrize("width", [128, 100])
def test_rounding_agrees_with_a_loop_over_weights(width: int) -> None:
    weight = matrix(7, width)
    np.testing.assert_allclose(int8(weight).numpy(), naive_int8(weight), rtol=0, atol=1e-7)
    for group in (32, 64, 128):
        np.testing.assert_allclose(int4(weight, group).numpy(), naive_int4(weight, group), rtol=0, atol=1e-7)


def test_zero_stays_zero_and_no_weight_moves_further_than_a_step() -> None:
    weight = matrix(7, 100)
    weight[:, 50] = 0
    assert not int4(weight, 32)[:, 50].any()
    assert not int8(weight)[:, 50].any()
    assert not int4(weight, 32)[0].any()
    assert len(int4(weight, 32)[3, :32].unique()) <= 16
    assert (int4(weight, 32) - weight).abs().max() <= (weight.max() - weight.min()) / 15


def test_torchaos_quantised_copies_have_the_same_weights() -> None:
    if find_spec("torchao") is None:
        pytest.skip("torchao is not installed: the extra [gpu] brings it")
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, PerGroup, quantize_
    from torchao.quantization.quant_primitives import MappingType

    layer, weight = nn.Linear(256, 7, bias=False), matrix(7, 256)
    layer.weight.data.copy_(weight)
    eight, four = copy.deepcopy(layer), copy.deepcopy(layer)
    quantize_(eight, Int8WeightOnlyConfig())
    kind = IntxWeightOnlyConfig(torch.int4, PerGroup(64), MappingType.ASYMMETRIC)
    quantize_(four, kind)
    assert torch.equal(eight.weight.dequantize(), int8(weight))
    assert torch.equal(four.weight.dequantize(), int4(weight, 64))
    asked = torch.randn(3, 256)
    assert torch.allclose(four(asked), nn.functional.linear(asked, int4(weight, 64)), atol=1e-6)


def test_only_the_linear_layers_below_the_head_are_rounded(loaded: Loaded) -> None:
    model = copy.deepcopy(loaded[0])
    assert round_weights(model, torch.zeros_like) == 1.0
    for name, weight in model.named_parameters():
        assert bool(weight.any()) == ("proj" not in name), name


def test_layers_with_transposed_weights_are_rounded_along_the_same_side() -> None:
    config = GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=50, n_positions=16)
    model = GPT2LMHeadModel(config)
    before = model.transformer.h[0].mlp.c_fc.weight.detach().clone()  # (in, out)
    assert round_weights(model, int8) == 1.0
    assert torch.equal(model.transformer.h[0].mlp.c_fc.weight, int8(before.T).T)


def test_weights_outside_linear_layers_give_a_warning() -> None:
    config = MixtralConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=4,
    )
    assert round_weights(MixtralForCausalLM(config), int8) < 0.3


def test_a_matrix_is_rounded_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch, loaded: Loaded) -> None:
    whole, pieces = copy.deepcopy(loaded[0]), copy.deepcopy(loaded[0])
    round_weights(whole, partial(int4, group=32))
    monkeypatch.setattr("core.evaluation.attacks.quantization._AT_ONCE", 1000)
    round_weights(pieces, partial(int4, group=32))
    assert all(
        torch.equal(first, second) for first, second in zip(whole.parameters(), pieces.parameters(), strict=True)
    )


def context_of(loaded: Loaded, tiny_model: TinyModel) -> EvalContext:
    return EvalContext(lambda: copy.deepcopy(loaded), tiny_model.sets, training=TRAINING)


def naive_perplexity(loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase], texts: list[str]) -> float:
    """The whole model with each matrix replaced, a record at a time, in float64."""
    model, tokenizer = copy.deepcopy(loaded[0]).double(), loaded[1]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "proj" in name:
                weight.copy_(int4(weight.float(), 32))
        losses = []
        for text in texts:
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            log_p = torch.log_softmax(model(input_ids=ids).logits[0, :-1], -1)
            losses.append(-log_p.gather(1, ids[0, 1:, None]).mean().item())
    return math.exp(sum(losses) / len(losses))


def test_quantized_figures_are_those_of_a_model_with_rounded_weights(loaded: Loaded, tiny_model: TinyModel) -> None:
    result = Quantized(group_size=32).measure(context_of(loaded, tiny_model))
    texts = [record.text or "" for record in tiny_model.sets["unseen"]]
    assert result.variants["int4"]["unseen"]["perplexity"].value == pytest.approx(
        naive_perplexity(loaded, texts), rel=1e-4
    )
    assert set(result.variants) == {"int8", "int4"}
    for sets in result.variants.values():
        assert set(sets) == {"forget", "unseen", "retain"}
        assert set(sets["forget"]) == {
            *("perplexity", "probability", "accuracy", "extraction_strength", "extraction_strength_highest")
        }
    assert result.cut_short == result.warnings == []


def test_eight_bits_change_less_than_four(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = context_of(loaded, tiny_model)
    result = Quantized().measure(context).variants

    def distance(figure: Figure) -> float:
        return abs(math.log(figure.value / original))

    context.unload_model()
    original = math.exp(record_scores(context, "forget")["loss"].mean())
    assert distance(result["int8"]["forget"]["perplexity"]) < distance(result["int4"]["forget"]["perplexity"])
    assert distance(result["int8"]["forget"]["perplexity"]) < 0.01


def test_an_adapter_is_merged_into_the_quantised_copy(loaded: Loaded, tiny_model: TinyModel) -> None:
    def with_adapter() -> Loaded:
        model, tokenizer = copy.deepcopy(loaded)
        torch.manual_seed(0)
        adapter.attach(model, Lora(rank=2))
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.data.normal_(std=0.02)
        return model, tokenizer

    def merged() -> Loaded:
        model, tokenizer = with_adapter()
        adapter.merge(model)
        return model, tokenizer

    sets = {"forget": tiny_model.sets["forget"]}
    of_adapter, of_merged = (
        Quantized().measure(EvalContext(load, sets, training=TRAINING)) for load in (with_adapter, merged)
    )
    assert of_adapter == of_merged


def test_records_and_variants_that_are_left_out_are_noted(loaded: Loaded, tiny_model: TinyModel) -> None:
    few = Quantized(records=5).measure(context_of(loaded, tiny_model))
    assert few.variants["int8"]["retain"]["perplexity"].records == 5
    assert [(cut.what, cut.done, cut.of, cut.reason) for cut in few.cut_short][:2] == [
        ("int8 forget", 5, 8, "records"),
        ("int8 unseen", 5, 16, "records"),
    ]
    late = Quantized(seconds=1e-9).measure(context_of(loaded, tiny_model))
    assert late.variants == {"int8": {}, "int4": {}}
    assert {cut.reason for cut in late.cut_short} == {"seconds"}


def test_symmetric_scores_compare_each_copy_with_the_model_itself(loaded: Loaded, tiny_model: TinyModel) -> None:
    sets = {"forget": tiny_model.sets["forget"]}
    retrained = EvalContext(lambda: copy.deepcopy(loaded), sets, training=TRAINING, moment="retrained")
    context = EvalContext(lambda: copy.deepcopy(loaded), sets, training=TRAINING, retrained=retrained)
    quantized = Quantized(group_size=32, records=6)
    result = quantized.measure(context)
    assert quantized.measure(retrained).across == result.across  # the retrained model's own, to compare with
    indices = context.subset_indices("forget", 6)
    for variant in ("int8", "int4"):
        for figure in ("probability", "extraction_strength"):
            copied = result.variants[variant]["forget"][figure].value
            original = record_scores(context, "forget")[figure][indices].mean()
            score = result.across[f"quantized_symmetric_{figure}_{variant}"]
            assert score.value == pytest.approx(1 - abs(copied - original) / (copied + original))
            assert score.records == 6
            assert score.low is not None
            assert score.high is not None
            assert 0 <= score.low <= score.value <= score.high <= 1
    fine, coarse = (result.across[f"quantized_symmetric_probability_{variant}"].value for variant in ("int8", "int4"))
    assert coarse < fine


def test_without_a_retrained_model_there_are_no_symmetric_scores_and_no_further_pass(
    loaded: Loaded, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = EvalContext(lambda: copy.deepcopy(loaded), {"forget": tiny_model.sets["forget"]}, training=TRAINING)
    statistics, labels = context.statistics, []

    def counted(records: list[Record], *, label: str) -> list[TokenStatistics]:
        labels.append(label)
        return statistics(records, label=label)

    monkeypatch.setattr(context, "statistics", counted)
    assert Quantized().measure(context).across == {}
    assert labels == ["int8 forget", "int4 forget"]
