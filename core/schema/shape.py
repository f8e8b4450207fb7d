"""What a model directory is, read from its config, tokenizer and safetensors headers: without torch, without weights.

And whether it can be used: weights in safetensors alone, no code of its own, nothing outside of the allowed folder.
"""

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from core.schema.models import ModelShape, TensorGroup
from core.synthetic import people

HEADER_LIMIT = 100 << 20
"""As safetensors itself has it."""

DTYPES = {"F64": ("float64", 8), "F32": ("float32", 4), "BF16": ("bfloat16", 2), "F16": ("float16", 2)}
CAUSAL = ("ForCausalLM", "LMHeadModel")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"

SIZES = {
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "vocabulary": ("vocab_size",),
    "context": ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"),
}
"""The names that architectures give to one thing."""

OPTIONAL_SIZES = {
    "key_value_heads": ("num_key_value_heads", "multi_query_group_num", "num_kv_heads"),
    "head_size": ("head_dim",),
}
WIDTHS = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff")
EXPERT_WIDTHS = ("moe_intermediate_size", *WIDTHS)
EXPERTS_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


class Tensor(NamedTuple):
    """One entry of a safetensors header."""

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


class UnusableModel(ValueError):
    """Why a directory cannot be registered, in words for the person who tried; it names files, never the place."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_shape(directory: Path, *, root: Path) -> ModelShape:
    """The shape of a model directory that is in order. `root`: the folder that its files may not lead out of, both
    resolved already. Raises UnusableModel: `model-incomplete`, `unsafe-model` or `unsupported-model`."""
    config = _json(directory, "config.json")
    _inside(directory, root)
    tokenizer_config = _json(directory, "tokenizer_config.json", needed=False)
    for name, content in (("config.json", config), ("tokenizer_config.json", tokenizer_config)):
        if _brings_code(content):
            raise UnusableModel("unsafe-model", f"{name} has 'auto_map': models that bring their own code are refused")
    architecture = _architecture(config)
    weights = [_header(directory / name, name) for name in _weight_files(directory)]
    tensors = [tensor for header in weights for tensor in header]
    text = config["text_config"] if isinstance(config.get("text_config"), dict) else config
    sizes = {ours: _size(text, names) for ours, names in SIZES.items()}
    _tokenizer_fits(directory, config, tokenizer_config, vocabulary=sizes["vocabulary"])
    return ModelShape(
        architecture=architecture,
        parameters=sum(one.elements for one in tensors),
        bytes=sum(one.elements * DTYPES[one.kind][1] for one in tensors),
        dtype=_dtype(tensors),
        **sizes,
        **{ours: _optional(text, names) for ours, names in OPTIONAL_SIZES.items()},
        intermediate=_width(text),
        # a head of its own is a second matrix with a row for every token
        tied=sum(len(one.shape) == 2 and one.shape[0] == sizes["vocabulary"] for one in tensors) < 2,
        bytes_per_token=_bytes_per_token(directory),
        tensors=grouped(tensors),
    )


def grouped(tensors: Iterable[Tensor]) -> list[TensorGroup]:
    """The weights, those alike but for the numbers in their names as one, in order of name."""
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for one in tensors:
        numbers = _NUMBER.findall(one.name)
        groups.setdefault((_NUMBER.sub("*", one.name), one.shape), []).append(int(numbers[0]) if numbers else 0)
    return [
        TensorGroup(name=name, shape=list(shape), count=len(firsts), first=min(firsts))
        for (name, shape), firsts in sorted(groups.items())
    ]


def _inside(directory: Path, root: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        if not path.resolve().is_relative_to(root):
            raise UnusableModel("unsafe-model", f"'{path.name}' leads out of the allowed folder")


def _json(directory: Path, name: str, *, needed: bool = True) -> dict[str, Any]:
    path = directory / name
    if not path.is_file():
        if needed:
            raise UnusableModel("model-incomplete", f"there is no {name} in the directory")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise UnusableModel("model-incomplete", f"{name} is not valid JSON") from None
    if not isinstance(content, dict):
        raise UnusableModel("model-incomplete", f"{name} does not hold an object")
    return content


def _brings_code(content: Any) -> bool:
    if isinstance(content, dict):
        return "auto_map" in content or any(_brings_code(one) for one in content.values())
    return isinstance(content, list) and any(_brings_code(one) for one in content)


def _architecture(config: dict[str, Any]) -> str:
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    if name is None or not name.endswith(CAUSAL):
        raise UnusableModel(
            "unsupported-model", "config.json does not name the architecture of a causal language model"
        )
    if config.get("quantization_config"):
        raise UnusableModel("unsupported-model", "quantised weights cannot be trained: register the original model")
    return name


def _weight_files(directory: Path) -> list[str]:
    """The safetensors files of the model: the index's shards, else the single file."""
    if (directory / INDEX).is_file():
        shards = _json(directory, INDEX).get("weight_map")
        names = sorted(set(shards.values())) if isinstance(shards, dict) else []
        if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise UnusableModel("model-incomplete", f"{INDEX} does not list its files")
        if missing := [name for name in names if not (directory / name).is_file()]:
            raise UnusableModel("model-incomplete", f"{len(missing)} of {len(names)} safetensors files are missing")
        return names
    if (directory / SINGLE).is_file():
        return [SINGLE]
    if any(next(directory.glob(pattern), None) for pattern in PICKLES):
        message = "the weights are pickles, which can run code: convert them to safetensors first"
        raise UnusableModel("unsafe-model", message)
    raise UnusableModel("model-incomplete", f"there is no {SINGLE} in the directory")


def _header(path: Path, name: str) -> list[Tensor]:
    """Each tensor of a safetensors file that is whole (format: huggingface/safetensors, README)."""
    try:
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            if length > HEADER_LIMIT:
                raise ValueError
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        tensors = [Tensor(key, str(one["dtype"]), tuple(map(int, one["shape"]))) for key, one in header.items()]
        end = max((one["data_offsets"][1] for one in header.values()), default=0)
        whole = path.stat().st_size == 8 + length + end
    except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise UnusableModel("model-incomplete", f"{name} is not a readable safetensors file") from None
    if not whole:
        raise UnusableModel("model-incomplete", f"{name} is cut short, or longer than its header says")
    if kinds := {one.kind for one in tensors} - DTYPES.keys():
        message = f"{name} holds {', '.join(sorted(kinds))}; weights are float32, bfloat16 or float16"
        raise UnusableModel("unsupported-model", message)
    return tensors


def _dtype(tensors: list[Tensor]) -> str:
    counts = Counter[str]()
    for one in tensors:
        counts[one.kind] += one.elements
    if not counts:
        raise UnusableModel("model-incomplete", "the safetensors files hold no weights")
    return DTYPES[counts.most_common(1)[0][0]][0]


def _optional(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    found = (config.get(name) for name in names)
    return next((value for value in found if isinstance(value, int) and value > 0), None)


def _size(config: dict[str, Any], names: tuple[str, ...]) -> int:
    value = _optional(config, names)
    if value is None:
        raise UnusableModel("unsupported-model", f"config.json does not say {names[0]}")
    return value


def _width(config: dict[str, Any]) -> int | None:
    """How wide a token's way through the feed-forward layers is: of a mixture, all the experts that it goes through."""
    experts = _optional(config, EXPERTS_PER_TOKEN)
    if experts is None:
        return _optional(config, WIDTHS)
    width = _optional(config, EXPERT_WIDTHS)
    return None if width is None else experts * width + (_optional(config, ("shared_expert_intermediate_size",)) or 0)


def _tokenizer_fits(directory: Path, config: dict[str, Any], about: dict[str, Any], *, vocabulary: int) -> None:
    content = _json(directory, "tokenizer.json")
    model = content.get("model")
    words = model.get("vocab") if isinstance(model, dict) else None
    added = content.get("added_tokens")
    ids = [one.get("id") for one in added if isinstance(one, dict)] if isinstance(added, list) else []
    ids += list(words.values()) if isinstance(words, dict) else [len(words) - 1] if isinstance(words, list) else []
    largest = max((one for one in ids if isinstance(one, int)), default=None)
    if largest is None:
        raise UnusableModel("model-incomplete", "tokenizer.json has no vocabulary")
    if largest >= vocabulary:
        message = f"the tokenizer has ids up to {largest}, the model's vocabulary ends before {vocabulary}"
        raise UnusableModel("unsupported-model", message)
    generation = _json(directory, "generation_config.json", needed=False)
    if all(one is None for one in (config.get("eos_token_id"), generation.get("eos_token_id"), about.get("eos_token"))):
        raise UnusableModel("unsupported-model", "neither config nor tokenizer names an end-of-sequence token")


def _bytes_per_token(directory: Path) -> float:
    """How much text a token stands for, at most 6 bytes. Names and numbers are cut finer than prose is, so that no more
    tokens come out of a text than this says."""
    try:
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    except Exception:  # noqa: BLE001 - the library has no class of errors of its own
        raise UnusableModel("model-incomplete", "tokenizer.json is not a readable tokenizer") from None
    texts = [record.text or "" for record in people(50, seed=0)]
    tokens = sum(len(one.ids) for one in tokenizer.encode_batch(texts, add_special_tokens=False))
    return round(min(6.0, sum(len(text.encode()) for text in texts) / max(tokens, 1)), 2)
