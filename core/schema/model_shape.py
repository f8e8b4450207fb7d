"""Reads a model's shape from its config, tokenizer and safetensors headers, without torch and without the weights.

A model can be used if its weights are in safetensors, it brings no code, and no file leads out of the allowed folder.
core.lm.weight_check checks whether the weights belong to the model that the config describes.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from core.schema.adapters import ADAPTER_CONFIG
from core.schema.architecture import refuse_custom_code, supported_architecture, usable_context
from core.schema.model_files import UnusableModel, read_json, refuse_links_outside
from core.schema.models import ModelShape, TensorGroup
from core.schema.tokenizer_files import bytes_per_token, check_tokenizer
from core.schema.weight_files import DTYPES, INDEX, NUMBER, SINGLE, Tensor, read_tensors, weight_files

__all__ = ["DTYPES", "SIZES", "UnusableModel", "group_tensors", "holds_adapter", "read_shape"]

SIZES = {
    "hidden_size": ("hidden_size", "n_embd", "d_model", "emb_dim", "dim"),
    "layers": (
        *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "num_decoder_layers"),
        *("num_blocks",),
    ),
    "heads": (
        *("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads", "decoder_attention_heads"),
        *("num_decoder_attention_heads",),
    ),
    "vocabulary": ("vocab_size",),
    "context": (
        *("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length"),
        *("context_length", "max_target_positions"),
        "max_inference_chunksize",  # xLSTM: it computes longer texts in pieces, without a gradient
    ),
}
"""For each size, the names that architectures give it in config.json."""

OPTIONAL_SIZES = {
    "key_value_heads": ("num_key_value_heads", "multi_query_group_num", "num_kv_heads"),
    "head_size": ("head_dim",),
}
WIDTHS = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff", "decoder_ffn_dim", "dim_ff")
EXPERT_WIDTHS = ("moe_intermediate_size", *WIDTHS)
EXPERTS_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k")
LAYER_LISTS = ("layer_types", "layers_block_type", "block_types")
_EMBEDDING = re.compile(r"(^|\.)(\w*embed\w*|wte|emb|embeddings?\.weight)(\.|$)")


def read_shape(directory: Path, *, root: Path) -> ModelShape:
    """Returns the shape of a model directory that is in order.

    `root` is the folder that no file may lead out of; both paths are resolved. Raises UnusableModel:
    `model-incomplete`, `unsafe-model` or `unsupported-model`.
    """
    refuse_links_outside(directory, root)
    _refuse_other_formats(directory)
    config = read_json(directory, "config.json")
    tokenizer_config = read_json(directory, "tokenizer_config.json", needed=False)
    for name, content in (("config.json", config), ("tokenizer_config.json", tokenizer_config)):
        refuse_custom_code(name, content, model_type=config.get("model_type"))
    architecture = supported_architecture(config)
    _refuse_other_weights(directory, config)
    tensors = read_tensors(directory)
    weights = [tensor for tensor in tensors if tensor.weight]
    text = config["text_config"] if isinstance(config.get("text_config"), dict) else config
    vocabulary, hidden_size = _embedding(text, weights)
    check_tokenizer(directory, text, tokenizer_config, vocabulary=vocabulary)
    return ModelShape(
        architecture=architecture,
        parameters=sum(weight.elements for weight in weights),
        bytes=sum(tensor.bytes for tensor in tensors),
        dtype=_dtype(weights),
        vocabulary=vocabulary,
        hidden_size=hidden_size,
        layers=_layers(text, weights),
        heads=_optional(text, SIZES["heads"]),
        context=_context(text),
        **{size: _optional(text, names) for size, names in OPTIONAL_SIZES.items()},
        intermediate=_width(text),
        tied=_tied(weights, vocabulary),
        bytes_per_token=bytes_per_token(directory),
        tensors=group_tensors(weights),
    )


def holds_adapter(directory: Path) -> bool:
    """Whether a directory holds an adapter (as peft writes it) and no model."""
    return (directory / ADAPTER_CONFIG).is_file() and not (directory / "config.json").is_file()


def group_tensors(tensors: Iterable[Tensor]) -> list[TensorGroup]:
    """Groups the weights whose names differ by numbers only, in order of name."""
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for tensor in tensors:
        numbers = NUMBER.findall(tensor.name)
        groups.setdefault((NUMBER.sub("*", tensor.name), tensor.shape), []).append(int(numbers[0]) if numbers else 0)
    return [
        TensorGroup(name=name, shape=list(shape), count=len(firsts), first=min(firsts))
        for (name, shape), firsts in sorted(groups.items())
    ]


def _refuse_other_formats(directory: Path) -> None:
    """Refuses a directory in another format, which has no config.json."""
    if (directory / "config.json").is_file():
        return
    if any(directory.glob("*.gguf")):
        weight_files(directory)
    if holds_adapter(directory):
        raise UnusableModel(
            "unsupported-model",
            "the directory holds an adapter without its base: POST /v1/models merges the two; here, merge it first"
            " (peft: PeftModel.from_pretrained(base, directory).merge_and_unload().save_pretrained(new_directory))",
        )


def _refuse_other_weights(directory: Path, config: dict[str, Any]) -> None:
    """Refuses files that make transformers load other weights than those that are checked here."""
    if config.get("transformers_weights") not in (None, SINGLE, INDEX):
        message = f"config.json has 'transformers_weights': remove it, and name the weights {SINGLE} or {INDEX}"
        raise UnusableModel("unsupported-model", message)
    if (directory / ADAPTER_CONFIG).is_file():
        raise UnusableModel(
            "unsupported-model",
            "the directory holds a whole model and an adapter's adapter_config.json, which makes transformers load the"
            " adapter's base instead: remove that file, or move the adapter to a directory of its own",
        )


def _dtype(weights: list[Tensor]) -> str:
    counts = Counter[str]()
    for weight in weights:
        counts[weight.kind] += weight.elements
    return DTYPES[counts.most_common(1)[0][0]][0]


def _embedding(config: dict[str, Any], weights: list[Tensor]) -> tuple[int, int]:
    """Returns the rows and the width of the token embedding: from the config, else from the matrix."""
    vocabulary, width = (_optional(config, SIZES[name]) for name in ("vocabulary", "hidden_size"))
    matrices = [weight for weight in weights if len(weight.shape) == 2]
    if vocabulary is None:
        named = [weight.shape[0] for weight in matrices if _EMBEDDING.search(weight.name)]
        vocabulary = max(named, default=None)
    if width is None:
        width = next((weight.shape[1] for weight in matrices if weight.shape[0] == vocabulary), None)
    if vocabulary is None or width is None:
        missing = "vocab_size" if vocabulary is None else "hidden_size"
        message = f"config.json does not say {missing}, and no matrix looks like the token embedding: add it"
        raise UnusableModel("unsupported-model", message)
    return vocabulary, width


def _context(config: dict[str, Any]) -> int | None:
    positions = _optional(config, SIZES["context"])
    if positions is None:
        return None
    return usable_context(positions, model_type=config.get("model_type"), padding=config.get("pad_token_id"))


def _tied(weights: Sequence[Tensor], vocabulary: int) -> bool:
    """Whether the head is the embedding; else there is a second matrix of its shape, with a row for every token."""
    shapes = Counter(weight.shape for weight in weights if len(weight.shape) == 2 and weight.shape[0] == vocabulary)
    return max(shapes.values(), default=0) < 2


def _layers(config: dict[str, Any], weights: Sequence[Tensor]) -> int:
    """Returns the number of layers: from the config, else from the numbers in the weights' names."""
    if (count := _optional(config, SIZES["layers"])) is not None:
        return count
    for name in LAYER_LISTS:
        if isinstance(config.get(name), list) and config[name]:
            return len(config[name])
    numbers = [int(matches[0]) for weight in weights if (matches := NUMBER.findall(weight.name))]
    return max(numbers, default=0) + 1


def _optional(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    values = (config.get(name) for name in names)
    return next((value for value in values if isinstance(value, int) and value > 0), None)


def _width(config: dict[str, Any]) -> int | None:
    """Returns a token's width in the feed-forward layers; in a mixture, of all the experts that it goes through."""
    experts = _optional(config, EXPERTS_PER_TOKEN)
    if experts is None:
        return _optional(config, WIDTHS)
    width = _optional(config, EXPERT_WIDTHS)
    return None if width is None else experts * width + (_optional(config, ("shared_expert_intermediate_size",)) or 0)
