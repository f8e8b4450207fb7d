"""Safetensors files of a model directory: the files that belong to the model, and the tensors in their headers."""

import json
import math
import re
import struct
from pathlib import Path
from typing import NamedTuple

from core.schema.model_files import UnusableModel, read_json

HEADER_LIMIT = 100 << 20
"""The limit that safetensors itself has."""

DTYPES = {"F64": ("float64", 8), "F32": ("float32", 4), "BF16": ("bfloat16", 2), "F16": ("float16", 2)}
"""Dtypes of weights by safetensors' names, each with torch's name and the bytes of an element."""
INDICES = {"BOOL": 1, "U8": 1, "I32": 4, "I64": 8}
"""Dtypes of tensors that are not trained, such as masks and tables of expert numbers, with the bytes of an element."""

BUFFERS = re.compile(
    r"(^|\.)(rotary\w*\.(inv_freq|cos_cached|sin_cached)|attn\.embed_positions|embed_positions\.weights"
    r"|(self_)?(attn|attention)\.(bias|masked_bias|causal_mask)|position_ids|num_batches_tracked)$"
)
"""Names of constants in older files, which the model's code computes itself."""

NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
"""A number in a tensor's name, such as a layer's or an expert's."""

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
OTHER_FORMAT = "consolidated*.safetensors"
"""A copy of the weights under the names of Mistral's own code. transformers never reads these files."""

_MAX_NAMES = 3


class Tensor(NamedTuple):
    """One entry of a safetensors header."""

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * (DTYPES[self.kind][1] if self.kind in DTYPES else INDICES[self.kind])

    @property
    def weight(self) -> bool:
        """Whether the tensor can be trained."""
        return self.kind in DTYPES and BUFFERS.search(self.name) is None


def read_tensors(directory: Path) -> list[Tensor]:
    """Returns every tensor of the model's files.

    Raises UnusableModel where files are missing, cut short, not the model's, or hold weights that cannot be trained.
    """
    names = weight_files(directory)
    files: dict[str, str] = {}  # by tensor
    tensors: list[Tensor] = []
    for name in names:
        for tensor in read_header(directory / name):
            if tensor.name in files:
                message = f"'{tensor.name}' is in {files[tensor.name]} and in {name}: remove one of the two"
                raise UnusableModel("model-incomplete", message)
            files[tensor.name] = name
            tensors.append(tensor)
    _check_index(directory, files)
    if not any(tensor.weight for tensor in tensors):
        raise UnusableModel("model-incomplete", "the safetensors files hold no weights")
    return tensors


def weight_files(directory: Path) -> list[str]:
    """Returns the safetensors files that transformers loads: the index's shards, or the single file.

    Raises UnusableModel.
    """
    if (directory / INDEX).is_file():
        shards = read_json(directory, INDEX).get("weight_map")
        names = sorted(set(shards.values())) if isinstance(shards, dict) else []
        if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise UnusableModel("model-incomplete", f"{INDEX} does not list its files")
        if missing := [name for name in names if not (directory / name).is_file()]:
            message = f"{len(missing)} of {len(names)} safetensors files are missing: {abbreviate_names(missing)}"
            raise UnusableModel("model-incomplete", message)
        if (directory / SINGLE).is_file() and names != [SINGLE]:
            message = f"{SINGLE} and {INDEX} are two sets of weights, and transformers loads the first: remove one"
            raise UnusableModel("model-incomplete", message)
    elif (directory / SINGLE).is_file():
        names = [SINGLE]
    else:
        raise _no_weights(directory)
    _refuse_strays(directory, names)
    return names


def read_header(path: Path) -> list[Tensor]:
    """Returns the tensors of a complete safetensors file (format: huggingface/safetensors, README).

    Raises UnusableModel.
    """
    name = path.name
    try:
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            if length > HEADER_LIMIT:
                raise ValueError(length)
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        tensors = [Tensor(key, str(entry["dtype"]), tuple(map(int, entry["shape"]))) for key, entry in header.items()]
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        complete = path.stat().st_size == 8 + length + end
    except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise UnusableModel("model-incomplete", f"{name} is not a readable safetensors file") from None
    if not complete:
        message = f"{name} is cut short, or longer than its header says: copy it again"
        raise UnusableModel("model-incomplete", message)
    for tensor in tensors:
        if tensor.kind not in DTYPES and not _is_index(tensor):
            message = (
                f"{name} holds '{tensor.name}' in {tensor.kind}; weights are float32, bfloat16 or float16: register the"
                " original model, whose weights are not quantised"
            )
            raise UnusableModel("unsupported-model", message)
    return tensors


def abbreviate_names(names: list[str]) -> str:
    """Returns the first few names, and the number of the others."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(f"'{name}'" for name in names[:_MAX_NAMES]) + more


def _is_index(tensor: Tensor) -> bool:
    """Whether a tensor is a mask or a table of numbers. Bytes are quantised weights, except in a known buffer."""
    return tensor.kind in INDICES and (tensor.kind != "U8" or BUFFERS.search(tensor.name) is not None)


def _check_index(directory: Path, files: dict[str, str]) -> None:
    """Refuses an index that lists a tensor in another file than the one that holds it. `files`: by tensor."""
    if not (directory / INDEX).is_file():
        return
    shards = read_json(directory, INDEX)["weight_map"]
    if wrong := sorted(name for name, file in shards.items() if files.get(name) != file):
        raise UnusableModel(
            "model-incomplete",
            f"{INDEX} lists {abbreviate_names(wrong)} in a file that does not hold it: the files belong to different"
            " versions of the model, or were not copied completely",
        )


def _refuse_strays(directory: Path, names: list[str]) -> None:
    other = {path.name for path in directory.glob(OTHER_FORMAT)}
    strays = sorted({path.name for path in directory.glob("*.safetensors")} - set(names) - other)
    if ADAPTER_WEIGHTS in strays:
        raise UnusableModel(
            "unsupported-model",
            f"the directory holds a whole model and an adapter ({ADAPTER_WEIGHTS}), and it is not clear which is"
            " meant: move the adapter to a directory of its own, or merge it into the model",
        )
    for stray in strays:
        tensors = [tensor.name for tensor in read_header(directory / stray)]
        loaded = f"the files that {INDEX} lists" if (directory / INDEX).is_file() else SINGLE
        raise UnusableModel(
            "model-incomplete",
            f"{stray} is not one of the model's files ({loaded}): its tensors ({abbreviate_names(tensors) or 'none'})"
            " would be left out. Remove the file, or add it to the index",
        )


def _no_weights(directory: Path) -> UnusableModel:
    if any(directory.glob("*.gguf")):
        return UnusableModel(
            "unsupported-model",
            "the weights are GGUF, a copy that was rounded for inference, with a tokenizer that is not the model's own:"
            " register the original directory with safetensors. If there is none, write one with transformers"
            " (AutoModelForCausalLM.from_pretrained(directory, gguf_file=name).save_pretrained(new_directory)) and put"
            " the original model's tokenizer.json and tokenizer_config.json beside it",
        )
    if any(next(directory.glob(pattern), None) for pattern in PICKLES):
        return UnusableModel(
            "unsafe-model",
            "the weights are pickles, which can run code: convert them to safetensors first, on a machine of your own"
            " (transformers: AutoModelForCausalLM.from_pretrained(directory).save_pretrained(new_directory))",
        )
    if others := sorted(path.name for path in directory.glob("*.safetensors")):
        return UnusableModel(
            "model-incomplete",
            f"there is no {SINGLE} in the directory, and no {INDEX} that lists {abbreviate_names(others)}: rename a"
            " single file, or copy the index as well",
        )
    return UnusableModel("model-incomplete", f"there is no {SINGLE} in the directory")
