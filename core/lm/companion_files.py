"""The files beside a model's weights, and whether they go with a checkpoint made from the model."""

import os
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from core.lm.tensor_files import index_files, tensor_files
from core.schema.manifest import MANIFEST_NAME

CARD = "UNLEARNING.md"
"""The card has a name of its own, since README.md is the model's."""

OTHER_WEIGHTS = (
    *("*.safetensors*", "adapter_config.json", "*.gguf*", "*.ggml", "*.llamafile"),
    *("*.bin", "*.bin.*", "*.pt", "*.pth", "*.ckpt", "*.ckpt.*", "*.pkl", "*.pickle", "*.joblib", "*.distcp"),
    *("*.h5", "*.keras", "*.msgpack", "*.msgpack.*", "*.pb", "*.data-?????-of-?????", "*.tflite", "*.npz", "*.npy"),
    *("*.onnx", "*.onnx_data", "*.onnx.*", "*.mlmodel", "*.engine", "*.ot", "*.nemo"),
    *("*.tar", "*.tar.*", "*.tgz", "*.zip"),
)
"""Weights in files that are not loaded, and files that only such weights need: they hold the weights from before."""

TOKENIZER = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.tiktoken"),
    *("chat_template*", "additional_chat_templates/*"),
)
TERMS = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*")


class Companions(NamedTuple):
    """Paths below a directory, with forward slashes, in order."""

    kept: list[str]
    left_out: list[str]


def companion_files(directory: Path) -> Companions:
    """Returns the files beside the loaded weights: kept byte for byte, or left out because they hold other weights.

    Links to files are followed. Ignored, as in a manifest: hidden files and folders, links to folders, and a manifest,
    which a checkpoint gets anew.
    """
    loaded = {path.name for path in (*tensor_files(directory), *index_files(directory))}
    kept: list[str] = []
    left_out: list[str] = []
    for path in _files(directory):
        if path == CARD or path in loaded:
            continue
        (left_out if _matches(path.rpartition("/")[2].lower(), OTHER_WEIGHTS) else kept).append(path)
    return Companions(kept, left_out)


def adapter_companions(directory: Path) -> list[str]:
    """Returns the files that an adapter of the model needs: the tokenizer's, and the terms of use."""
    kept = companion_files(directory).kept
    return [path for path in kept if _matches(path, TOKENIZER) or _matches(path, TERMS)]


def _files(directory: Path) -> list[str]:
    paths = []
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(folder).relative_to(directory)
        paths += [(relative / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(path for path in paths if path != MANIFEST_NAME)


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)
