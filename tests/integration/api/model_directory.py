"""Model directories as small as they can be, written without torch."""

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
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 16,
    "max_position_embeddings": 64,
    "eos_token_id": 1,
}


def write_model(directory: Path, **config: Any) -> Path:
    """A directory that passes every check; `config` replaces fields of its config.json."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({**CONFIG, **config}))
    weights = {"embed": numpy.zeros((16, 8), "float32"), "head": numpy.ones((4, 3), "float32")}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    Tokenizer(WordLevel({"[UNK]": 0, "</s>": 1, "word": 2}, unk_token="[UNK]")).save(str(directory / "tokenizer.json"))
    return directory
