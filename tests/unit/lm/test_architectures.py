"""Records that go through a model together have the figures that plain transformers gives of each record alone."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BambaConfig,
    BertConfig,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoConfig,
    GraniteConfig,
    Llama4TextConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    Phi3Config,
    PhimoeConfig,
    PreTrainedModel,
    Qwen2MoeConfig,
    RobertaConfig,
)
from transformers.models.deepseek_v32 import DeepseekV32Config

from core.lm.batch_layout import BatchLayout
from core.lm.errors import CoreError
from core.lm.forward import Forward
from tests.unit.lm.plain import DYNAMIC, LONGROPE, SIZES, log_probabilities, make_model, random_chunks

RECORDS = random_chunks(5, 60, 23, 23, 11, 40)
"""Records that are shorter and longer than every window, two of them of one length."""

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}

ARCHITECTURES = {
    "llama": (LlamaConfig(**SIZES), "packed"),
    "mistral sliding": (MistralConfig(**SIZES, sliding_window=16), "packed"),
    # the window is in the mask alone
    "qwen2_moe sliding": (
        Qwen2MoeConfig(
            **SIZES,
            **EXPERTS,
            shared_expert_intermediate_size=16,
            use_sliding_window=True,
            sliding_window=16,
            layer_types=["sliding_attention"] * 2,
            experts_implementation="eager",
        ),
        "masked",
    ),
    "phimoe sliding": (
        PhimoeConfig(**SIZES, num_local_experts=4, sliding_window=16, experts_implementation="eager"),
        "masked",
    ),
    "llama4 chunks": (
        Llama4TextConfig(**SIZES, head_dim=8, intermediate_size_mlp=48, num_local_experts=2, attention_chunk_size=16),
        "masked",
    ),
    # its layers without positions count a token's place from the beginning of the row
    "llama4 far floor": (
        Llama4TextConfig(**SIZES, head_dim=8, intermediate_size_mlp=48, num_local_experts=2, attention_chunk_size=64,
                         floor_scale=100, no_rope_layers=[0, 0]),
        "padded",
    ),
    "gpt_neo local": (
        GPTNeoConfig(vocab_size=97, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=48, window_size=16,
                     attention_types=[[["global", "local"], 1]], max_position_embeddings=128),
        "padded",
    ),
    "gpt2": (GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=128), "packed"),
    "gemma2 caps": (Gemma2Config(**SIZES, head_dim=8, sliding_window=16, final_logit_softcapping=30.0), "padded"),
    "cohere scale": (CohereConfig(**SIZES), "packed"),
    "granite scale": (GraniteConfig(**SIZES, logits_scaling=4.0), "packed"),
    "mpt": (MptConfig(vocab_size=97, d_model=32, n_heads=4, n_layers=2, max_seq_len=128), "padded"),
    "mamba": (MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=8), "padded"),
    "bamba": (
        BambaConfig(**SIZES | {"num_hidden_layers": 3}, attn_layer_indices=[1], mamba_n_heads=8, mamba_d_head=8,
                    mamba_d_state=8, mamba_chunk_size=8),
        "padded",
    ),
    # ties of a top-k selection are broken by the length of the row
    "deepseek_v32 selection": (
        DeepseekV32Config(**SIZES | {"num_key_value_heads": 4}, moe_intermediate_size=16, n_routed_experts=4,
                          num_experts_per_tok=2, n_group=1, topk_group=1, first_k_dense_replace=1, q_lora_rank=8,
                          kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=8, index_topk=8,
                          index_n_heads=2, index_head_dim=8, experts_implementation="eager"),
        "single",
    ),
    "longrope": (LlamaConfig(**SIZES, rope_parameters=LONGROPE), "packed"),
    "phi3 longrope": (
        Phi3Config(**SIZES, rope_parameters=LONGROPE, original_max_position_embeddings=32), "packed"
    ),
    "dynamic scaling": (LlamaConfig(**SIZES | {"max_position_embeddings": 32}, rope_parameters=DYNAMIC), "packed"),
    "bert decoder": (BertConfig(**{**SIZES, "is_decoder": True}), "packed"),
}  # fmt: skip


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> tuple[str, PreTrainedModel]:
    name: str = request.param
    return name, make_model(ARCHITECTURES[name][0])


def batched_log_probabilities(forward: Forward, max_tokens: int) -> Tensor:
    """Returns log-probabilities computed in micro-batches of `max_tokens`, in the records' order."""
    pieces: dict[int, Tensor] = {}
    for batch in forward.batches(RECORDS, max_tokens):
        rows = torch.log_softmax(forward.logits(forward.hidden(batch)), -1)
        picked = rows.gather(1, forward.targets(batch)[:, None])[:, 0]
        for chunk, piece in zip(batch, torch.split(picked, [len(chunk.ids) - 1 for chunk in batch]), strict=True):
            pieces[chunk.record] = piece
    return torch.cat([pieces[record.record] for record in RECORDS])


def test_records_that_go_together_are_predicted_as_plain_transformers_predicts_each_alone(
    architecture: tuple[str, PreTrainedModel],
) -> None:
    """In micro-batches of all records, of two or three, of one; and with the same gradients."""
    name, model = architecture
    plain, batched = copy.deepcopy(model), copy.deepcopy(model)
    expected = log_probabilities(plain, RECORDS)
    expected.mean().backward()
    forward = Forward(batched)
    for max_tokens in (1000, 80, 1):
        actual = batched_log_probabilities(forward, max_tokens)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5, check_dtype=False)
    actual.mean().backward()
    largest = max(float(weight.grad.abs().max()) for weight in plain.parameters() if weight.grad is not None)
    for weight, plain_weight in zip(batched.parameters(), plain.parameters(), strict=True):
        if plain_weight.grad is not None:
            assert weight.grad is not None
            torch.testing.assert_close(weight.grad, plain_weight.grad, rtol=1e-4, atol=1e-5 * largest)
    kind = ARCHITECTURES[name][1]
    assert forward._layout.kind == kind


def test_a_model_that_is_not_packed_keeps_its_own_attention() -> None:
    for attention in ("eager", "sdpa"):
        model = make_model(ARCHITECTURES["bamba"][0], attention=attention)
        assert not Forward(model).packed
        assert model.config._attn_implementation == attention
        assert model.base_model.config._attn_implementation == attention


def test_a_long_record_that_comes_later_is_tried_before_it_is_used() -> None:
    """Up to 64 tokens this model's rows may be packed; beyond 100 a token's place in the row counts."""
    model = make_model(ARCHITECTURES["llama4 far floor"][0])
    forward = Forward(model)
    assert forward.packed
    record = random_chunks(20)
    expected = log_probabilities(model, record)
    forward.hidden(record)
    assert forward.packed
    forward.batches(random_chunks(*[20] * 8), 1000)
    assert not forward.packed
    logits = forward.logits(forward.hidden(record))
    rows = torch.log_softmax(logits, -1).gather(1, forward.targets(record)[:, None])[:, 0]
    torch.testing.assert_close(rows, expected, rtol=1e-6, atol=1e-6)


def test_the_trial_is_made_once_for_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(LlamaConfig(**SIZES))
    first = Forward(model)
    calls: list[BatchLayout] = []
    monkeypatch.setattr("core.lm.forward.find_layout", lambda *_: calls.append(first._layout))
    monkeypatch.setattr("core.lm.forward.refuse_unless_causal", lambda *_: calls.append(first._layout))
    assert Forward(model).packed
    assert not calls


def test_a_trial_of_long_rows_in_one_part_of_a_job_holds_for_parts_that_began_before() -> None:
    model = make_model(ARCHITECTURES["llama4 far floor"][0])
    records = random_chunks(5, 7, 9)
    expected = log_probabilities(model, records)
    early = Forward(model)
    assert early.packed
    assert not Forward(model, longest=60, row=300).packed
    rows = torch.log_softmax(early.logits(early.hidden(records)), -1)
    torch.testing.assert_close(rows.gather(1, early.targets(records)[:, None])[:, 0], expected, rtol=1e-6, atol=1e-6)


def test_lengths_that_were_tried_are_not_examined_again_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    forward, records = Forward(make_model(LlamaConfig(**SIZES))), random_chunks(60, 60)
    forward.hidden(records)
    monkeypatch.setattr("core.lm.forward.trial_row_length", lambda *_: pytest.fail("the config was gone through again"))
    forward.hidden(records)


@pytest.mark.parametrize("cap", [30.0, 50.0])
def test_a_soft_cap_counts_in_half_precision_too(cap: float) -> None:
    """Its effect on a fresh model's logits is below bfloat16's own rounding."""
    config = Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=cap, attn_logit_softcapping=None)
    model = make_model(config, torch.bfloat16)
    assert Forward(model).head is None
    config.final_logit_softcapping = None
    assert Forward(make_model(config, torch.bfloat16)).head is not None


@pytest.mark.parametrize(
    "config",
    [
        CohereConfig(**SIZES, logit_scale=0.999),
        GraniteConfig(**SIZES, logits_scaling=1.001),
        BertConfig(**{**SIZES, "is_decoder": True}),
    ],
    ids=lambda config: config.model_type,
)
def test_a_head_that_scales_or_transforms_is_run_as_the_model_runs_it(config: Any) -> None:
    assert Forward(make_model(config, torch.bfloat16)).head is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_window_counts_in_half_precision_too(dtype: torch.dtype) -> None:
    config, _ = ARCHITECTURES["phimoe sliding"]
    forward = Forward(make_model(config, dtype))
    forward.batches(RECORDS, 1000)
    assert forward._layout.kind == "masked"


@pytest.mark.parametrize("config", [BertConfig(**SIZES), RobertaConfig(**SIZES)], ids=lambda config: config.model_type)
def test_a_model_that_sees_later_tokens_is_refused(config: Any) -> None:
    with pytest.raises(CoreError, match="is_decoder") as refused:
        Forward(make_model(config))
    assert refused.value.code == "not_causal"


def test_a_model_that_answers_differently_each_time_is_refused() -> None:
    model = make_model(LlamaConfig(**SIZES))
    model.base_model.layers[0].mlp.register_forward_hook(lambda _, __, states: states + torch.randn_like(states))
    with pytest.raises(CoreError) as refused:
        Forward(model)
    assert refused.value.code == "not_repeatable"


def test_a_model_that_cannot_read_plain_tokens_is_refused_by_name() -> None:
    model = make_model(LlamaConfig(**SIZES))
    model.base_model.layers[0].register_forward_pre_hook(lambda *_: {}["needed"])
    with pytest.raises(CoreError, match="KeyError") as refused:
        Forward(model)
    assert refused.value.code == "unusable_model"


def test_dynamic_factors_do_not_depend_on_the_records_before() -> None:
    model = make_model(ARCHITECTURES["dynamic scaling"][0])
    longest, shorter = random_chunks(60, 40)
    expected = log_probabilities(copy.deepcopy(model), [shorter])
    forward = Forward(model)
    forward.hidden([longest])
    rows = torch.log_softmax(forward.logits(forward.hidden([shorter])), -1)
    actual = rows.gather(1, forward.targets([shorter])[:, None])[:, 0]
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)
