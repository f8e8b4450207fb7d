"""`python -m core.lm.adapter_merging ADAPTER BASE OUTPUT` merges an adapter into its base model.

The adapter is a LoRA (arXiv 2106.09685) as peft writes it. Merges file by file, so that the weights of one file at most
are in memory.

Every other file, and every weight without an adapter, is the base's, byte for byte; a tokenizer beside the adapter
takes the place of the base's. Prints its result as one JSON line. The API, which does not load torch, starts it.
"""

import math
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.schema.model_files import UnusableModel, read_json
from core.schema.models import WeightCheckResult
from core.schema.weight_files import ADAPTER_WEIGHTS, SINGLE, abbreviate_names, weight_files

_PREFIX = "base_model.model."
_PLAIN_INITS = (True, False, "gaussian", "orthogonal", "eva")
"""Initialisations of an adapter that leave the base's weights unchanged."""
_OTHER_KINDS = ("use_dora", "use_qalora", "use_bdlora", "lora_bias", "layer_replication", "trainable_token_indices")
_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
)


def main(arguments: Sequence[str]) -> int:
    adapter, base, output = map(Path, arguments)
    try:
        merge(adapter, base, output)
        answer = WeightCheckResult()
    except UnusableModel as error:
        answer = WeightCheckResult(error=str(error))
    except OSError as error:
        answer = WeightCheckResult(error=f"the merged model could not be written: {error.strerror}")
    print(answer.model_dump_json())
    return 0


@torch.no_grad()
def merge(adapter: Path, base: Path, output: Path) -> None:
    """Writes the base with the adapter added to its weights, in their dtypes; `output` is complete or absent.

    Raises UnusableModel where the adapter is of another kind or does not fit the base, and OSError.
    """
    config = _config(adapter)
    weights = _weights(adapter)
    files = weight_files(base)
    places = _places(base, files, weights, config)
    partial = output.with_name(f".{output.name}.partial-{os.getpid()}")
    try:
        shutil.copytree(base, partial, ignore=lambda _, names: {name for name in names if name in files})
        for pattern in _TOKENIZER_FILES:
            for path in adapter.glob(pattern):
                shutil.copy(path, partial)
        for file in files:
            names = [name for name in places if places[name] == file]
            if names:
                _write(base / file, partial / file, {name: weights[name] for name in names}, config)
            else:
                shutil.copy(base / file, partial)
        try:
            partial.rename(output)
        except OSError:
            if not output.is_dir():  # else another process has made the same model meanwhile
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _config(adapter: Path) -> dict[str, Any]:
    config = read_json(adapter, "adapter_config.json")
    unsupported = [name for name in _OTHER_KINDS if config.get(name)]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none":
        unsupported = [f"peft_type {config.get('peft_type')}", f"bias {config.get('bias')}"]
    if config.get("init_lora_weights", True) not in _PLAIN_INITS:
        unsupported.append(f"init_lora_weights {config['init_lora_weights']}")
    if unsupported:
        raise _unsupported(f"adapters with {', '.join(unsupported)} are not merged here, plain LoRA is")
    return config


def _weights(adapter: Path) -> dict[str, dict[str, Tensor]]:
    """Reads, by the name of the weight in the model, its `A` (rank, in) and `B` (out, rank), or the `whole` weight."""
    if not (adapter / ADAPTER_WEIGHTS).is_file():
        raise UnusableModel("model-incomplete", f"there is no {ADAPTER_WEIGHTS} in the directory: pickles are not read")
    weights: dict[str, dict[str, Tensor]] = {}
    for key, weight in load_file(adapter / ADAPTER_WEIGHTS).items():
        name = key.removeprefix(_PREFIX)
        if match := re.fullmatch(r"(.+)\.lora_([AB])(?:\.default)?\.weight", name):
            weights.setdefault(f"{match[1]}.weight", {})[match[2]] = weight
        elif ".lora_" in name:
            raise _unsupported(f"the adapter's '{key}' is of a kind that is not merged here, plain LoRA is")
        else:
            weights.setdefault(name.replace(".modules_to_save.default", ""), {})["whole"] = weight
    if incomplete := sorted(name for name, parts in weights.items() if set(parts) not in ({"A", "B"}, {"whole"})):
        message = f"the adapter has half of what belongs to {abbreviate_names(incomplete)}"
        raise UnusableModel("model-incomplete", message)
    if not weights:
        raise UnusableModel("model-incomplete", f"{ADAPTER_WEIGHTS} holds no weights")
    return weights


def _places(
    base: Path, files: list[str], weights: dict[str, dict[str, Tensor]], config: dict[str, Any]
) -> dict[str, str]:
    """Returns the file of each weight that the adapter changes, and renames `weights` to their names in the files."""
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for file in files:
        with safe_open(base / file, "pt") as opened:
            shapes |= {name: (file, tuple(opened.get_slice(name).get_shape())) for name in opened.keys()}  # noqa: SIM118
    places = {}
    for name in list(weights):
        stored = name if name in shapes else name.partition(".")[2]
        if stored not in shapes:
            raise _unsupported(
                f"the base's files have no tensor '{name}', which the adapter changes: the adapter belongs to another"
                " model, or to a layer that shares its weight with another"
            )
        parts = weights[stored] = weights.pop(name)
        file, shape = shapes[stored]
        if shape != _shape(parts, config):
            message = f"the adapter's '{name}' is for {list(_shape(parts, config))}, the base has {list(shape)}"
            raise _unsupported(f"{message}: the adapter belongs to another model")
        places[stored] = file
        parts["scale"] = torch.tensor(_scale(name.removesuffix(".weight"), parts, config))
    return places


def _shape(parts: dict[str, Tensor], config: dict[str, Any]) -> tuple[int, ...]:
    if "whole" in parts:
        return tuple(parts["whole"].shape)
    shape = (*parts["B"].shape[:1], *parts["A"].shape[1:])
    return shape[::-1] if config.get("fan_in_fan_out") else shape


def _scale(module: str, parts: dict[str, Tensor], config: dict[str, Any]) -> float:
    """Returns alpha / rank, or alpha / sqrt(rank) (arXiv 2312.03732)."""
    if "whole" in parts:
        return 1.0
    rank, alpha = parts["A"].shape[0], config.get("lora_alpha", 8)
    for pattern, module_alpha in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            alpha = module_alpha
            break
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _write(source: Path, target: Path, changes: dict[str, dict[str, Tensor]], config: dict[str, Any]) -> None:
    with safe_open(source, "pt") as opened:
        metadata = opened.metadata()
    weights = load_file(source)
    for name, parts in changes.items():
        weight = weights[name]
        if "whole" in parts:
            weights[name] = parts["whole"].to(weight.dtype)
            continue
        change = (parts["B"].float() @ parts["A"].float()) * parts["scale"]
        change = change.T if config.get("fan_in_fan_out") else change
        weights[name] = (weight.float() + change).to(weight.dtype).contiguous()
    save_file(weights, target, metadata=metadata)


def _unsupported(message: str) -> UnusableModel:
    return UnusableModel(
        "unsupported-model",
        f"{message}. Merge it with peft (PeftModel.from_pretrained(base, directory).merge_and_unload()) and register"
        f" the directory that save_pretrained writes, with its {SINGLE} and tokenizer",
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
