"""Writing a checkpoint: complete or not at all."""

import os
import shutil
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.lm.errors import CoreError
from core.lm.model import stored_dtype


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: Path, card: str) -> None:
    """Weights (safetensors, in the dtype the model was stored in), config, generation config, tokenizer, README.md.

    Written to a sibling and renamed, so that `directory`, which must be absent or empty, never holds half a checkpoint.
    Raises CoreError `output_not_empty`, and OSError of a full disk.
    """
    if directory.exists() and any(directory.iterdir()):
        raise CoreError("output_not_empty", "the output directory holds files already", blame="service")
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.with_name(f".{directory.name}.partial-{os.getpid()}")
    stored = stored_dtype(model)
    try:
        model.save_pretrained(partial, state_dict=_cast(model.state_dict(), stored))
        # save_pretrained notes the dtype of the weights in memory, which is not that of the weights on disk
        model.config.dtype = stored
        model.config.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        (partial / "README.md").write_text(card, encoding="utf-8")
        for path in partial.iterdir():
            _flush(path)
        partial.rename(directory)
        _flush(directory.parent)
    finally:
        model.config.dtype = stored
        shutil.rmtree(partial, ignore_errors=True)


def _cast(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The floating-point weights in `dtype`; tied weights, which share memory, share it afterwards too."""
    cast: dict[int, Tensor] = {}
    return {
        name: cast.setdefault(weight.data_ptr(), weight.to(dtype)) if weight.is_floating_point() else weight
        for name, weight in state.items()
    }


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
