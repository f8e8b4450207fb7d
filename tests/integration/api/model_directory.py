"""Minimal model directories, written without torch."""

import json
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 16,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "eos_token_id": 1,
}
PARAMETERS = 16 * 8 + 2 * (4 * 8 * 8 + 3 * 12 * 8 + 2 * 8) + 8


def write_model(directory: Path, **config: Any) -> Path:
    """Writes a directory that passes every check; `config` replaces fields of its config.json."""
    directory.mkdir(parents=True)
    described = {**CONFIG, **config}
    (directory / "config.json").write_text(json.dumps(described))
    save_file(weights(described["vocab_size"]), directory / "model.safetensors", metadata={"format": "pt"})
    Tokenizer(WordLevel({"[UNK]": 0, "</s>": 1, "word": 2}, unk_token="[UNK]")).save(str(directory / "tokenizer.json"))
    return directory


def weights(vocabulary: int = 16) -> dict[str, Any]:
    """Returns the weights of a Llama whose head is its embedding."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, 8), "model.norm.weight": (8,)}
    for layer in (f"model.layers.{number}" for number in range(2)):
        shapes |= {f"{layer}.self_attn.{name}_proj.weight": (8, 8) for name in "qkvo"}
        shapes |= {f"{layer}.mlp.{name}_proj.weight": (12, 8) for name in ("gate", "up")}
        shapes |= {f"{layer}.mlp.down_proj.weight": (8, 12)}
        shapes |= {f"{layer}.{name}_layernorm.weight": (8,) for name in ("input", "post_attention")}
    return {name: numpy.zeros(shape, "float32") for name, shape in shapes.items()}
