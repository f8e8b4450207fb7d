from fnmatch import fnmatchcase

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from core.lm.errors import CoreError
from core.unlearning.objectives import resolve
from core.unlearning.objectives.rmu import misdirection, steering_vector

SMALL = {
    "vocab_size": 16,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 13,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "pad_token_id": 0,
}
GPT2 = {"vocab_size": 16, "n_embd": 8, "n_layer": 13, "n_head": 2}
OPT = {**SMALL, "ffn_dim": 8, "word_embed_proj_dim": 8}
FALCON = {"vocab_size": 16, "hidden_size": 8, "num_hidden_layers": 13, "num_attention_heads": 2}
NEO = {"vocab_size": 16, "hidden_size": 8, "num_layers": 13, "num_heads": 2, "attention_types": [[["global"], 13]]}
DOWN = "layers.{}.mlp.down_proj.weight"
GRANITE = ["layers.{}.shared_mlp.output_linear.weight", "layers.{}.block_sparse_moe.experts.down_proj"]
FAMILIES = [
    ("llama", SMALL, [DOWN]),
    ("qwen2", SMALL, [DOWN]),
    ("qwen3", SMALL, [DOWN]),
    ("mistral", SMALL, [DOWN]),
    ("gemma2", SMALL, [DOWN]),
    ("phi3", SMALL, [DOWN]),
    ("mixtral", {**SMALL, "num_local_experts": 2}, ["layers.{}.mlp.experts.down_proj"]),
    ("starcoder2", SMALL, ["layers.{}.mlp.c_proj.weight", "layers.{}.mlp.c_proj.bias"]),
    ("phi", SMALL, ["layers.{}.mlp.fc2.weight", "layers.{}.mlp.fc2.bias"]),
    ("opt", OPT, ["decoder.layers.{}.fc2.weight", "decoder.layers.{}.fc2.bias"]),
    ("gpt_neox", SMALL, ["layers.{}.mlp.dense_4h_to_h.weight", "layers.{}.mlp.dense_4h_to_h.bias"]),
    ("gpt2", GPT2, ["h.{}.mlp.c_proj.weight", "h.{}.mlp.c_proj.bias"]),
    ("gpt_neo", NEO, ["h.{}.mlp.c_proj.weight", "h.{}.mlp.c_proj.bias"]),
    ("gptj", {**GPT2, "rotary_dim": 2}, ["h.{}.mlp.fc_out.weight", "h.{}.mlp.fc_out.bias"]),
    ("falcon", FALCON, ["h.{}.mlp.dense_4h_to_h.weight"]),
    ("bloom", {**GPT2, "hidden_size": 8}, ["h.{}.mlp.dense_4h_to_h.weight", "h.{}.mlp.dense_4h_to_h.bias"]),
    ("granitemoeshared", {**SMALL, "num_local_experts": 2, "shared_intermediate_size": 8}, GRANITE),
    ("jetmoe", {**SMALL, "num_local_experts": 2, "kv_channels": 4}, ["layers.{}.mlp.output_linear.weight"]),
    ("lfm2", {**SMALL, "block_ff_dim": 8}, ["layers.{}.feed_forward.w2.weight"]),
    ("codegen", {**GPT2, "rotary_dim": 2}, ["h.{}.mlp.fc_out.weight", "h.{}.mlp.fc_out.bias"]),
    ("ctrl", {**GPT2, "dff": 8}, ["h.{}.ffn.2.weight", "h.{}.ffn.2.bias"]),
    ("rwkv", {**SMALL, "attention_hidden_size": 8}, ["blocks.{}.feed_forward.value.weight"]),
    ("xlstm", {**SMALL, "num_heads": 2, "num_blocks": 13}, ["blocks.{}.ffn.proj_down.weight"]),
    ("bert", {**SMALL, "is_decoder": True}, ["layer.{}.output.dense.weight", "layer.{}.output.dense.bias"]),
    ("mpt", {"vocab_size": 16, "d_model": 8, "n_layers": 13, "n_heads": 2}, ["blocks.{}.ffn.down_proj.weight"]),
]


@pytest.mark.parametrize(("kind", "shape", "names"), FAMILIES, ids=[kind for kind, _, _ in FAMILIES])
def test_the_down_projections_of_three_layers_are_trained_in_every_model_family(kind, shape, names):
    """Thirteen layers: layer 1 must not match layer 11, nor an expert's number a layer's."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape))
    patterns = resolve("rmu", {"at_layer": 3}).trained_weights(13)
    trained = {name for name, _ in model.named_parameters() if any(fnmatchcase(name, pattern) for pattern in patterns)}
    expected = [f".{name.format(layer)}" for layer in (1, 2, 3) for name in names]
    assert len(trained) == len(expected)
    assert all(any(name.endswith(end) for name in trained) for end in expected)


@pytest.mark.parametrize(
    ("layers", "chosen", "numbers"),
    [(1, 0, [0]), (2, 0, [0]), (4, 1, [0, 1]), (12, 4, [2, 3, 4]), (22, 7, [5, 6, 7]), (80, 7, [5, 6, 7])],
)
def test_the_default_layer_is_7_or_a_third_of_the_depth(layers, chosen, numbers):
    method = resolve("rmu", {})
    assert method.layer(layers) == chosen
    assert [
        pattern for pattern in method.trained_weights(layers) if "down_proj" in pattern and "layers" in pattern
    ] == [f"*layers.{number}.*down_proj*" for number in numbers]


def test_a_layer_that_the_model_does_not_have_is_refused():
    assert resolve("rmu", {"at_layer": 3}).layer(4) == 3
    with pytest.raises(CoreError, match="layers are 0 to 3") as caught:
        resolve("rmu", {"at_layer": 4}).layer(4)
    assert caught.value.code == "no_such_layer"


def test_the_steering_vector_is_nonnegative_of_the_given_length_and_of_the_seed():
    vector = steering_vector(50, 6.5, seed=3)
    assert vector.min() >= 0
    assert vector.norm().item() == pytest.approx(6.5)
    assert vector.max() / vector.mean() < 3, "uniform, not normal"
    assert vector.equal(steering_vector(50, 6.5, seed=3))
    assert not vector.equal(steering_vector(50, 6.5, seed=4))


def test_misdirection_is_the_mean_square_over_the_width():
    states = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    target = torch.rand(6, dtype=torch.float64)
    values = misdirection(states, target)
    naive = [sum((states[t, i] - target[i]) ** 2 for i in range(6)) / 6 for t in range(4)]
    torch.testing.assert_close(values, torch.stack(naive))
    (gradient,) = torch.autograd.grad(values.sum(), states, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(sum(naive), states)[0])
    assert misdirection(states.detach().bfloat16(), target).dtype == torch.float32


def test_the_default_retain_term_is_hidden_and_needs_the_reference_model():
    assert resolve("rmu", {}).retain_spec().term == "hidden"
    assert resolve("rmu", {}).retain_spec().weight == 1200
    assert resolve("rmu", {}).needs() == {"forget", "retain", "original"}
    assert resolve("rmu", {"retain_term": "descent"}).needs() == {"forget", "retain"}
    assert resolve("rmu", {"retain_term": "none"}).needs() == {"forget"}
