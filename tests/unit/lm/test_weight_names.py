"""Directories whose files do not fit the model that their config describes: refused by name, never loaded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, MixtralConfig, MixtralForCausalLM

from core.lm.errors import CoreError
from core.lm.model import load
from core.lm.weight_check import check_weights
from core.schema.model_shape import read_shape
from tests.unit.lm.tiny import VOCABULARY, tiny_model, tiny_tokenizer

CPU = torch.device("cpu")
Weights = dict[str, Tensor]
MIXTURE = "model.layers.1.block_sparse_moe.experts"


def llama(directory: Path) -> Path:
    tiny_model(dtype=torch.float32).save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return directory


def mixture(directory: Path) -> Path:
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = MixtralConfig(**sizes, num_key_value_heads=1, num_local_experts=4, vocab_size=VOCABULARY, eos_token_id=1)
    MixtralForCausalLM(config).save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return directory


def spoil(directory: Path, change: Callable[[Weights], Weights] | None = None, **config: object) -> None:
    file = directory / "model.safetensors"
    if change is not None:
        save_file(change(load_file(file)), file, metadata={"format": "pt"})
    read = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(read | config))


def without(end: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: weight for name, weight in weights.items() if not name.endswith(end)}


def under_another_prefix(weights: Weights) -> Weights:
    return {name.replace("model.", "model.language_model."): weight for name, weight in weights.items()}


def refused(directory: Path, code: str) -> str:
    """Returns the message at loading, which the check at registration gives too."""
    with pytest.raises(CoreError) as caught:
        load(directory, device=CPU)
    assert (caught.value.code, caught.value.blame, caught.value.retryable) == (code, "user", False)
    assert check_weights(directory).error == caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("change", "config", "code", "words"),
    [
        (without("1.mlp.up_proj.weight"), {}, "weights_missing", "1 tensor ('model.layers.1.mlp.up_proj.weight')"),
        (without("lm_head.weight"), {}, "weights_missing", '"tie_word_embeddings": true'),
        (under_another_prefix, {}, "weights_missing", "'model.language_model.embed_tokens.weight'"),
        (None, {"num_hidden_layers": 3}, "weights_missing", "'model.layers.2.input_layernorm.weight'"),
        (None, {"num_hidden_layers": 1}, "weights_left_over", "'model.layers.1.input_layernorm.weight'"),
        (None, {"vocab_size": 112}, "weights_of_another_shape", "[97, 16] in the files and [112, 16] (vocab_size)"),
        (
            lambda weights: weights | {"model.norm.weight": torch.ones(15)},
            {},
            "weights_of_another_shape",
            "'model.norm.weight' has the shape [15] in the files and [16]",
        ),
        (
            lambda weights: weights | {"model.side.bias": torch.ones(3)},
            {},
            "weights_left_over",
            "1 tensor ('model.side.bias')",
        ),
        (None, {"num_attention_heads": 5}, "model_unreadable", "not a multiple of the number of attention heads"),
        (None, {"model_type": "wonder"}, "model_unreadable", "wonder"),
    ],
)
def test_weights_that_are_not_the_models_are_refused_by_name(tmp_path, change, config, code, words):
    directory = llama(tmp_path / "model")
    spoil(directory, change, **config)
    assert words in refused(directory, code)


@pytest.mark.parametrize("lost", [f"{MIXTURE}.2.w1.weight", f"{MIXTURE}.3.w2.weight"])
def test_a_missing_expert_is_named_although_the_model_joins_experts_in_one_tensor(tmp_path, lost):
    directory = mixture(tmp_path / "model")
    assert check_weights(directory).error is None
    load(directory, device=CPU)
    spoil(directory, without(lost))
    assert f"'{lost}'" in refused(directory, "weights_missing")


def test_an_expert_of_another_shape_is_named(tmp_path):
    directory = mixture(tmp_path / "model")
    spoil(directory, lambda weights: weights | {f"{MIXTURE}.1.w1.weight": torch.ones(23, 16)})
    assert f"'{MIXTURE}.1.w1.weight'" in refused(directory, "weights_of_another_shape")


def test_masks_and_other_constants_of_older_files_are_not_counted_as_weights(tmp_path):
    config = GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=8, vocab_size=VOCABULARY, eos_token_id=1)
    model = GPT2LMHeadModel(config)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)

    def older(weights: Weights) -> Weights:
        unprefixed = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
        mask = torch.ones(1, 1, 8, 8).tril()
        masks = {"h.0.attn.bias": mask.to(torch.uint8), "h.1.attn.bias": mask.bool()}
        return unprefixed | masks | {"h.0.attn.masked_bias": torch.tensor(-1e4)}

    spoil(tmp_path, older)
    shape = read_shape(tmp_path, root=tmp_path)
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    assert check_weights(tmp_path).error is None
    loaded, _ = load(tmp_path, device=CPU)
    for name, weight in model.state_dict().items():
        assert loaded.state_dict()[name].equal(weight)


def test_a_tied_head_need_not_be_in_the_files(tmp_path):
    tiny_model(dtype=torch.float32, tied=True).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    assert check_weights(tmp_path).error is None
    model, _ = load(tmp_path, device=CPU)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_files_that_transformers_would_ignore_are_refused(tmp_path):
    directory = llama(tmp_path / "model")
    save_file({"model.norm.weight": torch.zeros(16)}, directory / "extra.safetensors")
    assert "extra.safetensors" in refused(directory, "model_unreadable")
    (directory / "extra.safetensors").unlink()
    (directory / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    with pytest.raises(CoreError, match=r"adapter_config\.json"):
        load(directory, device=CPU)


def test_a_directory_gives_the_same_weights_every_time(tmp_path):
    directory = mixture(tmp_path / "model")
    torch.manual_seed(1)
    first, _ = load(directory, device=CPU)
    torch.manual_seed(2)
    second, _ = load(directory, device=CPU)
    tensors = {**dict(second.named_parameters()), **dict(second.named_buffers())}
    for name, tensor in [*first.named_parameters(), *first.named_buffers()]:
        assert tensors[name].equal(tensor), name
