"""Compares the weights of files with the model's: none may be missing, left over, or of another shape.

transformers draws missing weights at random, and goes on.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig
from transformers import __version__ as version

from core.lm.errors import CoreError
from core.schema.model_files import UnusableModel
from core.schema.weight_files import BUFFERS, DTYPES, NUMBER, abbreviate_names, read_tensors

_TORCH = {kind: getattr(torch, name) for kind, (name, _) in DTYPES.items()} | {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I32": torch.int32,
    "I64": torch.int64,
}
_QUOTED = 200
"""Characters of a library's message that are quoted."""


def refuse_misfit(directory: Path, report: Mapping[str, Any]) -> None:
    """Raises CoreError `weights_missing`, `weights_left_over` or `weights_of_another_shape`, with the tensors' names.

    `report` is that of `from_pretrained` with `output_loading_info` and `ignore_mismatched_sizes`.
    """
    missing = sorted(report["missing_keys"])
    left_over = sorted(name for name in report["unexpected_keys"] if BUFFERS.search(name) is None)
    if report["mismatched_keys"]:
        refuse_missing_numbers(directory)
        raise _of_another_shape(sorted(report["mismatched_keys"]))
    if missing and left_over:
        raise CoreError(
            "weights_missing",
            f"the files lack {_tensors(missing)} of the model and hold {_tensors(left_over)} that it does not have:"
            " they belong to another architecture than config.json names, or their names have another prefix. Save the"
            " model again with transformers (save_pretrained of the class that config.json names)",
        )
    if missing:
        raise CoreError(
            "weights_missing",
            f"the files lack {_tensors(missing)} of the model, which would be drawn at random: copy all files of the"
            f" model{_of_a_head(missing)}",
        )
    if left_over:
        raise CoreError(
            "weights_left_over",
            f"the files hold {_tensors(left_over)} that the model does not have: config.json describes another model,"
            " such as one of fewer layers. Register the config that belongs to the weights, or remove the tensors",
        )


def refuse_missing_numbers(directory: Path) -> None:
    """Raises CoreError where the numbers in the tensors' names have gaps, or where few of a series differ in shape.

    A series are the tensors whose names differ in numbers only, such as those of all experts. transformers joins them,
    and names no single one in its report.
    """
    series: dict[str, dict[tuple[str, ...], tuple[int, ...]]] = {}
    for tensor in read_tensors(directory):
        numbers = tuple(NUMBER.findall(tensor.name))
        series.setdefault(NUMBER.sub("*", tensor.name), {})[numbers] = tensor.shape
    missing: list[str] = []
    misshapen: list[str] = []
    for pattern, shapes in series.items():
        combinations = product(*(sorted(set(column), key=int) for column in zip(*shapes, strict=True)))
        absent = [numbers for numbers in combinations if numbers not in shapes]
        usual, _ = Counter(shapes.values()).most_common(1)[0]
        unusual = [numbers for numbers, shape in shapes.items() if shape != usual]
        for exceptions, names in ((absent, missing), (unusual, misshapen)):
            if len(exceptions) < len(shapes) / 2:
                names += [_numbered(pattern, numbers) for numbers in exceptions]
    if missing:
        message = f"the files lack {_tensors(sorted(missing))}, to which the others' numbers point: copy all files"
        raise CoreError("weights_missing", message)
    if misshapen:
        message = (
            f"the files hold {_tensors(sorted(misshapen))} of another shape than those alike: copy the files again"
        )
        raise CoreError("weights_of_another_shape", message)


def loading_error(directory: Path, error: Exception) -> CoreError:
    """Explains an error of transformers to the person who brought the directory."""
    try:
        refuse_missing_numbers(directory)
    except CoreError as gap:
        return gap
    except (UnusableModel, OSError):  # then the first error says more
        pass
    quoted = " ".join(str(error).replace(str(directory), "the directory").split())[:_QUOTED]
    return CoreError(
        "model_unreadable",
        f"transformers {version} could not load the model ({type(error).__name__}: {quoted}): it must be a causal"
        " language model in safetensors with its config and tokenizer, and bring no code of its own",
    )


def refuse_misfitting_files(directory: Path, config: PreTrainedConfig) -> PreTrainedConfig:
    """Raises as `refuse_misfit` does, without reading the weights. Returns the config of the language model.

    Only names and shapes go through transformers' renaming and joining of tensors. Raises UnusableModel too.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    _, report = type(model).from_pretrained(
        None,
        config=model.config,
        state_dict=_shapes(directory),
        dtype=torch.float32,
        device_map={"": "meta"},
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    refuse_misfit(directory, report)
    return model.config


def _shapes(directory: Path) -> dict[str, Tensor]:
    return {
        tensor.name: torch.empty(tensor.shape, dtype=_TORCH[tensor.kind], device="meta")
        for tensor in read_tensors(directory)
    }


def _numbered(pattern: str, numbers: tuple[str, ...]) -> str:
    parts = pattern.split("*")
    return parts[0] + "".join(number + part for number, part in zip(numbers, parts[1:], strict=True))


def _tensors(names: list[str]) -> str:
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({abbreviate_names(names)})"


def _of_another_shape(mismatched: list[tuple[str, Any, Any]]) -> CoreError:
    name, stored, expected = mismatched[0]
    more = f", and {len(mismatched) - 1} more do not fit" if len(mismatched) > 1 else ""
    rows = " (vocab_size)" if len(stored) == len(expected) == 2 and stored[1] == expected[1] else ""
    return CoreError(
        "weights_of_another_shape",
        f"'{name}' has the shape {list(stored)} in the files and {list(expected)}{rows} by config.json{more}: register"
        " the config that belongs to the weights",
    )


def _of_a_head(missing: list[str]) -> str:
    heads = [name for name in missing if name.endswith(("lm_head.weight", "embed_out.weight"))]
    return ', or set "tie_word_embeddings": true if its head is its embedding' if heads == missing else ""
