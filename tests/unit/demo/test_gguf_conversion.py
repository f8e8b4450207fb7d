"""A GGUF file becomes an ordinary model directory, with the same weights, tokenizer and chat template."""

import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from core.lm.data import chat_template
from core.lm.model import load
from core.schema.model_shape import read_shape

TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>\n{% endfor %}"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld"]
QUANTISED = gguf.GGMLQuantizationType.Q4_1
HEADS, KEY_VALUE_HEADS, HIDDEN = 4, 2, 64


def tokens() -> list[str]:
    return [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(merge.split()) for merge in MERGES)]


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The order of rows that GGUF has of Llama's queries and keys."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(file: Path) -> dict[str, np.ndarray]:
    """Writes a random Llama with weights of 4 bits and returns the values of its matrices, by their GGUF names."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokens()),
        hidden_size=HIDDEN,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).model
    layer = model.layers[0]
    matrices = {
        "token_embd": model.embed_tokens.weight,
        "blk.0.attn_q": permuted(layer.self_attn.q_proj.weight, HEADS),
        "blk.0.attn_k": permuted(layer.self_attn.k_proj.weight, KEY_VALUE_HEADS),
        "blk.0.attn_v": layer.self_attn.v_proj.weight,
        "blk.0.attn_output": layer.self_attn.o_proj.weight,
        "blk.0.ffn_gate": layer.mlp.gate_proj.weight,
        "blk.0.ffn_up": layer.mlp.up_proj.weight,
        "blk.0.ffn_down": layer.mlp.down_proj.weight,
    }
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens()))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens())
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens()])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    values = {}
    for name, weight in matrices.items():
        packed = gguf.quants.quantize(weight.detach().numpy(), QUANTISED)
        values[name] = gguf.quants.dequantize(packed, QUANTISED)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=QUANTISED)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(HIDDEN, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


def convert(file: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "core.demo.gguf_conversion", "--gguf", str(file), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("gguf")
    values = write_gguf(folder / "tiny.gguf")
    done = convert(folder / "tiny.gguf", folder / "model")
    assert done.returncode == 0, done.stderr
    return folder / "model", values


def test_the_weights_are_those_of_the_file(converted: tuple[Path, dict[str, np.ndarray]]) -> None:
    directory, values = converted
    model, _ = load(directory, device=torch.device("cpu"))
    layer = model.model.layers[0]
    assert torch.equal(model.model.embed_tokens.weight.detach(), torch.from_numpy(values["token_embd"].copy()))
    assert torch.equal(layer.mlp.down_proj.weight.detach(), torch.from_numpy(values["blk.0.ffn_down"].copy()))
    queries = permuted(layer.self_attn.q_proj.weight.detach(), HEADS)
    assert torch.equal(queries, torch.from_numpy(values["blk.0.attn_q"].copy()))


def test_the_tokenizer_and_the_chat_template_come_with_it(converted: tuple[Path, dict[str, np.ndarray]]) -> None:
    directory, _ = converted
    _, tokenizer = load(directory, device=torch.device("cpu"))
    ids = tokenizer("hello world", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["hello", "Ġworld"]
    assert tokenizer.eos_token == "<|im_end|>"
    assert chat_template(tokenizer) is not None


def test_the_directory_can_be_registered(converted: tuple[Path, dict[str, np.ndarray]]) -> None:
    shape = read_shape(converted[0], root=converted[0])
    assert (shape.layers, shape.heads, shape.vocabulary) == (1, HEADS, len(tokens()))


def test_a_file_that_is_no_gguf_leaves_no_model(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"not a model")
    done = convert(file, tmp_path / "model")
    assert done.returncode != 0
    assert not (tmp_path / "model").exists()
