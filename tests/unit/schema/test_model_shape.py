"""Model directories that transformers wrote are read from their headers, and unusable ones are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
)

from core.demo.people import people
from core.demo.pretraining import train_tokenizer
from core.preflight.activations import cache_bytes, forward_bytes, kept_bytes
from core.schema.model_shape import UnusableModel, read_shape
from core.schema.models import ModelShape, TensorGroup

SIZES = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}


def shape_of(model: PreTrainedModel, directory: Path) -> ModelShape:
    model.to(torch.bfloat16).save_pretrained(directory)
    train_tokenizer(people(20, 0), 300).save_pretrained(directory)
    return read_shape(directory, root=directory)


def test_a_llamas_widths_heads_and_weights_are_read(tmp_path: Path) -> None:
    model = LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS, eos_token_id=1))
    shape = shape_of(model, tmp_path)
    assert (shape.intermediate, shape.key_value_heads, shape.head_size, shape.tied) == (48, 2, 8, False)
    assert TensorGroup(name="model.layers.*.mlp.down_proj.weight", shape=[32, 48], count=3) in shape.tensors
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    assert sum(group.count * torch.Size(group.shape).numel() for group in shape.tensors) == shape.parameters


def test_a_head_that_is_the_embedding_is_recognised(tmp_path: Path) -> None:
    shape = shape_of(
        LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS, eos_token_id=1, tie_word_embeddings=True)), tmp_path
    )
    assert shape.tied is True


def test_a_narrower_table_of_tokens_is_not_taken_for_a_head(llama: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    del weights["lm_head.weight"]
    weights["model.per_layer.weight"] = torch.ones(400, 8)
    save_file(weights, llama / "model.safetensors")
    assert read_shape(llama, root=llama).tied is True


def test_the_width_of_a_mixture_counts_the_experts_of_one_token(tmp_path: Path) -> None:
    config = MixtralConfig(**SIZES, **HEADS, eos_token_id=1, num_local_experts=4, num_experts_per_tok=2)
    assert shape_of(MixtralForCausalLM(config), tmp_path).intermediate == 96


FEW: dict[str, Any] = {"vocab_size": 400, "hidden_size": 32, "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": 0}


@pytest.mark.parametrize(
    ("kind", "config", "heads", "context"),
    [
        ("bloom", {"n_layer": 2, "n_head": 4}, 4, None),
        ("mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}, 4, 64),
        ("mamba", {"num_hidden_layers": 2, "state_size": 4}, None, None),
        ("falcon_mamba", {"num_hidden_layers": 2, "state_size": 4}, None, None),
        ("rwkv", {"num_hidden_layers": 2, "context_length": 96, "attention_hidden_size": 32}, None, 96),
        ("recurrent_gemma", {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}, 4, None),
        ("xglm", {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 48}, 4, 2048),
        ("bart", {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "is_decoder": True}, 4, 1024),
        ("xlstm", {"num_hidden_layers": 2, "num_heads": 4}, 4, 16_384),
        ("bert", {"num_hidden_layers": 2, "num_attention_heads": 4, "is_decoder": True}, 4, 512),
        ("roberta", {"num_hidden_layers": 2, "num_attention_heads": 4, "is_decoder": True, "pad_token_id": 1}, 4, 510),
    ],
)
def test_architectures_with_other_config_names_or_without_a_context_are_read(
    tmp_path: Path, kind: str, config: dict[str, Any], heads: int | None, context: int | None
) -> None:
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**FEW | config))
    shape = shape_of(model, tmp_path)
    assert (shape.layers, shape.hidden_size, shape.vocabulary) == (2, 32, 400)
    assert (shape.heads, shape.context) == (heads, context)
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    assert shape.within_context(100) == min(100, context or 100)
    for estimate in (cache_bytes(shape), forward_bytes(shape), kept_bytes(shape, "float32", checkpointing=False)):
        assert estimate > 0


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    shape_of(LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS, eos_token_id=1)), tmp_path)
    return tmp_path


def change(directory: Path, name: str, **fields: Any) -> None:
    path = directory / name
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({key: value for key, value in {**content, **fields}.items() if value != "absent"}))


def refusal(directory: Path) -> tuple[str, str]:
    with pytest.raises(UnusableModel) as caught:
        read_shape(directory, root=directory)
    assert str(directory) not in str(caught.value)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize(
    ("fields", "code", "advice"),
    [
        ({"auto_map": {"AutoModel": "x.Y"}}, "unsafe-model", "transformers has 'llama' itself: remove 'auto_map'"),
        ({"auto_map": {"AutoModel": "x.Y"}, "model_type": "theirs"}, "unsafe-model", "bring their own code"),
        ({"architectures": "absent"}, "unsupported-model", '"architectures": ["LlamaForCausalLM"]'),
        ({"architectures": ["LlamaForSequenceClassification"]}, "unsupported-model", "predicts the next token"),
        ({"architectures": ["XLNetLMHeadModel"], "model_type": "xlnet"}, "unsupported-model", "left to right"),
        ({"architectures": ["RobertaForCausalLM"], "model_type": "roberta"}, "unsupported-model", "is_decoder"),
        (
            {"architectures": ["BertLMHeadModel"], "model_type": "bert", "is_decoder": False},
            "unsupported-model",
            "is_d",
        ),
        ({"architectures": ["T5ForConditionalGeneration"]}, "unsupported-model", "decoder alone"),
        ({"architectures": ["BartForCausalLM"], "is_encoder_decoder": True}, "unsupported-model", "decoder alone"),
        (
            {"architectures": ["PaliForConditionalGeneration"], "text_config": {"model_type": "gemma3_text"}},
            "unsupported-model",
            "images or sound beside text (its text part is 'gemma3_text')",
        ),
        ({"quantization_config": {"quant_method": "gptq"}}, "unsupported-model", "register the original"),
        ({"transformers_weights": "other.safetensors"}, "unsupported-model", "transformers_weights"),
        ({"eos_token_id": None}, "unsupported-model", "set eos_token_id in config.json"),
        ({"vocab_size": 299}, "unsupported-model", "resize_token_embeddings"),
    ],
)
def test_an_unusable_config_is_refused_with_advice(llama: Path, fields: dict[str, Any], code: str, advice: str) -> None:
    (llama / "generation_config.json").unlink()
    change(llama, "tokenizer_config.json", eos_token="absent")
    change(llama, "config.json", **fields)
    refused, message = refusal(llama)
    assert (refused, advice in message) == (code, True), message


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("config.json", {"eos_token_id": [1, 2]}),
        ("generation_config.json", {"eos_token_id": [1, 2]}),
        ("special_tokens_map.json", {"eos_token": "</s>"}),
    ],
)
def test_end_of_sequence_tokens_may_be_several_and_in_any_file(llama: Path, name: str, fields: dict[str, Any]) -> None:
    (llama / "generation_config.json").unlink()
    change(llama, "tokenizer_config.json", eos_token="absent")
    change(llama, "config.json", eos_token_id=None)
    change(llama, name, **fields)
    assert read_shape(llama, root=llama).layers == 3


@pytest.mark.parametrize(
    ("files", "code", "advice"),
    [
        ({"tokenizer.json": None, "tokenizer.model": b"sp"}, "model-incomplete", "only tokenizer.model"),
        ({"tokenizer.json": None, "vocab.json": b"{}"}, "model-incomplete", "save_pretrained(directory)"),
        ({"tokenizer.json": None}, "model-incomplete", "copy the tokenizer's files"),
        ({"model.safetensors": None, "pytorch_model.bin": b""}, "unsafe-model", "convert them to safetensors"),
        ({"model.safetensors": None, "weights.gguf": b"GGUF"}, "unsupported-model", "GGUF"),
        ({"config.json": None, "model.safetensors": None, "weights.gguf": b"GGUF"}, "unsupported-model", "GGUF"),
        ({"adapter_config.json": b"{}"}, "unsupported-model", "a whole model and an adapter"),
        ({"adapter_model.safetensors": b""}, "unsupported-model", "a whole model and an adapter"),
    ],
)
def test_unusable_files_are_refused_with_advice(
    llama: Path, files: dict[str, bytes | None], code: str, advice: str
) -> None:
    for name, content in files.items():
        if content is None:
            (llama / name).unlink()
        else:
            (llama / name).write_bytes(content)
    refused, message = refusal(llama)
    assert (refused, advice in message) == (code, True), message


def test_a_file_that_is_not_the_models_is_refused_with_its_tensors(llama: Path) -> None:
    save_file({"model.side.weight": torch.ones(2)}, llama / "extra.safetensors")
    assert "extra.safetensors" in refusal(llama)[1]
    assert "'model.side.weight'" in refusal(llama)[1]
    (llama / "extra.safetensors").rename(llama / "consolidated.safetensors")  # as Mistral's repositories have it
    assert read_shape(llama, root=llama).layers == 3


def test_an_index_must_agree_with_its_files(llama: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    names = sorted(weights)
    files = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for file, tensors in files.items():
        save_file({name: weights[name] for name in tensors}, llama / file)
    index = {name: file for file, tensors in files.items() for name in tensors}
    change(llama, "model.safetensors.index.json", weight_map=index)
    assert "two sets of weights" in refusal(llama)[1]
    (llama / "model.safetensors").unlink()
    assert read_shape(llama, root=llama).parameters == sum(weight.numel() for weight in weights.values())
    change(llama, "model.safetensors.index.json", weight_map=index | {names[0]: "b.safetensors"})
    assert f"'{names[0]}'" in refusal(llama)[1]
    save_file({name: weights[name] for name in names[4:]}, llama / "b.safetensors")
    assert f"'{names[4]}' is in a.safetensors and in b.safetensors" in refusal(llama)[1]


def test_weights_in_bytes_are_refused_as_quantised_but_tables_of_numbers_are_not(llama: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    table = {"model.layers.0.experts": torch.arange(4), "model.layers.0.self_attn.bias": torch.ones(2, 2).byte()}
    save_file(weights | table, llama / "model.safetensors")
    assert read_shape(llama, root=llama).parameters == sum(weight.numel() for weight in weights.values())
    save_file(weights | {"model.norm.weight": torch.ones(32).byte()}, llama / "model.safetensors")
    assert refusal(llama) == ("unsupported-model", refusal(llama)[1])
    assert "'model.norm.weight' in U8" in refusal(llama)[1]
