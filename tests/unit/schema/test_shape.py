"""What preflight needs of a model directory: written by transformers, read from its headers."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM, PreTrainedModel

from core.lm.pretraining import train_tokenizer
from core.schema.models import ModelShape, TensorGroup
from core.schema.shape import read_shape
from core.synthetic import people

SIZES = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}


def shape_of(model: PreTrainedModel, directory: Path) -> ModelShape:
    model.to(torch.bfloat16).save_pretrained(directory)
    train_tokenizer(people(20, 0), 300).save_pretrained(directory)
    return read_shape(directory, root=directory)


def test_of_a_llama_widths_heads_and_every_weight(tmp_path: Path) -> None:
    model = LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS, eos_token_id=1))
    shape = shape_of(model, tmp_path)
    assert (shape.intermediate, shape.key_value_heads, shape.head_size, shape.tied) == (48, 2, 8, False)
    assert TensorGroup(name="model.layers.*.mlp.down_proj.weight", shape=[32, 48], count=3) in shape.tensors
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    assert sum(one.count * torch.Size(one.shape).numel() for one in shape.tensors) == shape.parameters


def test_a_head_that_is_the_embedding_is_seen_to_be(tmp_path: Path) -> None:
    shape = shape_of(
        LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS, eos_token_id=1, tie_word_embeddings=True)), tmp_path
    )
    assert shape.tied is True


def test_of_a_mixture_a_token_goes_through_some_experts_only(tmp_path: Path) -> None:
    config = MixtralConfig(**SIZES, **HEADS, eos_token_id=1, num_local_experts=4, num_experts_per_tok=2)
    assert shape_of(MixtralForCausalLM(config), tmp_path).intermediate == 96
