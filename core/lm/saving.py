"""Writing a checkpoint: complete or not at all."""

import os
import shutil
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.lm import adapter
from core.lm.errors import CoreError
from core.lm.model import stored_dtype


def save(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    directory: Path,
    card: str,
    *,
    adapter_of: str | None = None,
) -> None:
    """Weights (safetensors, in the dtype the model was stored in), config, generation config, tokenizer, README.md.

    A model's adapter is merged into the weights, in place; with `adapter_of`, the name of its base, the adapter is
    written instead of them (as peft reads it), tokenizer and README.md beside it.
    Written to a sibling and renamed, so that `directory`, which must be absent or empty, never holds half a checkpoint.
    Raises CoreError `output_not_empty`, and OSError of a full disk.
    """
    if directory.exists() and any(directory.iterdir()):
        raise CoreError("output_not_empty", "the output directory holds files already", blame="service")
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.with_name(f".{directory.name}.partial-{os.getpid()}")
    stored = stored_dtype(model)
    try:
        if adapter_of is not None:
            adapter.write(model, partial, base=adapter_of)
        else:
            _write_whole(model, partial, stored)
        tokenizer.save_pretrained(partial)
        (partial / "README.md").write_text(card, encoding="utf-8")
        for path in partial.iterdir():
            _flush(path)
        partial.rename(directory)
        _flush(directory.parent)
    finally:
        model.config.dtype = stored
        shutil.rmtree(partial, ignore_errors=True)


def _write_whole(model: PreTrainedModel, directory: Path, stored: torch.dtype) -> None:
    if adapter.attached(model):
        adapter.merge(model)
    model.save_pretrained(directory, state_dict=_cast(model.state_dict(), stored))
    # save_pretrained notes the dtype of the weights in memory, which is not that of the weights on disk
    model.config.dtype = stored
    model.config.save_pretrained(directory)


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
