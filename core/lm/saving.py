"""Writes checkpoints, complete or not at all.

A model that was made here is saved as transformers saves it. A model that came as a directory is exported as it came,
with the weights that changed: see `export`.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.lm import adapter
from core.lm.companion_files import CARD, adapter_companions, companion_files
from core.lm.errors import CoreError
from core.lm.model import stored_dtype
from core.lm.tensor_files import INDEX, KINDS, TensorFile, index_files, open_files, prevailing_kind
from core.lm.weight_conversion import Origins, same_bits

_PIECE = 1 << 22
"""Elements of a weight that are compared and cast at a time."""


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: Path, card: str) -> None:
    """Writes a model that has no files yet: safetensors, config, generation config, tokenizer, and `card` as README.md.

    The dtype is `stored_dtype`'s. Raises as `export` does.
    """
    with _complete(directory) as partial:
        stored = stored_dtype(model)
        try:
            model.save_pretrained(partial, state_dict=_cast(model.state_dict(), stored))
            # save_pretrained notes the dtype of the weights in memory, which is not that of the weights on disk
            model.config.dtype = stored
            model.config.save_pretrained(partial)
        finally:
            model.config.dtype = stored
        tokenizer.save_pretrained(partial)
        (partial / "README.md").write_text(card, encoding="utf-8")


def export(model: PreTrainedModel, source: Path, directory: Path, card: str, *, dtype: str = "auto") -> None:
    """Writes the model of `source` with the present weights of `model`, which was loaded from it.

    Every other byte is the source's: each file beside the weights but those that `companion_files` leaves out; each
    tensor's name, file, place and dtype; each value that has not changed since it was loaded. A tensor that changed is
    cast to its own dtype. A `dtype` other than `auto` replaces the dtype of most of the source's weights, in the
    weights and in config.json. `card` is put at the beginning of UNLEARNING.md.

    A model's adapter is merged into its weights, in place. The checkpoint is written to a sibling and renamed, so that
    `directory`, which must be absent or empty, never holds half a checkpoint. One weight at a time is held beside the
    model. Raises CoreError `output_not_empty`, `weights_not_in_files` and `weights_not_convertible`, and OSError of a
    full disk.
    """
    with _complete(directory) as partial:
        if adapter.has_adapter(model):
            adapter.merge(model)
        for path in index_files(source):
            _copy(path, partial / path.name)
        for name in companion_files(source).kept:
            _copy(source / name, partial / name)
        with ExitStack() as stack:
            files = open_files(source, stack)
            cast = _dtype_change(files, dtype)
            _write_weights(model, files, partial, cast)
        if cast:
            _note_dtype(partial, files, cast, dtype)
        earlier = source / CARD
        before = b"\n---\n\n" + earlier.read_bytes() if earlier.is_file() else b""
        (partial / CARD).write_bytes(card.encode() + before)


@torch.no_grad()
def refuse_unexportable(model: PreTrainedModel, source: Path) -> None:
    """Does what `export` does without writing, so that a model is refused before it is trained, not after.

    Raises CoreError `weights_not_in_files` and `weights_not_convertible`.
    """
    with ExitStack() as stack:
        _, shapes = _places(open_files(source, stack))
        for _ in Origins(model, shapes).convert_back(shapes):
            pass


def export_adapter(model: PreTrainedModel, source: Path, directory: Path, card: str, *, base: str) -> None:
    """Writes the model's adapter alone, as peft reads it, with `card` as README.md.

    The tokenizer's files and the terms of `source` are copied byte for byte. `base` names the adapter's base model.
    Raises as `export` does.
    """
    with _complete(directory) as partial:
        adapter.write(model, partial, base=base)
        for name in adapter_companions(source):
            _copy(source / name, partial / name)
        (partial / "README.md").write_text(card, encoding="utf-8")


@contextmanager
def _complete(directory: Path) -> Iterator[Path]:
    """Yields a folder to write to, which becomes `directory` once all of it is written and flushed to the disk."""
    if directory.exists() and any(directory.iterdir()):
        raise CoreError("output_not_empty", "the output directory holds files already", blame="service")
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.with_name(f".{directory.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    try:
        partial.mkdir()
        yield partial
        for folder, _, names in os.walk(partial, topdown=False):
            for name in (*names, ""):
                _flush(Path(folder, name))
        partial.rename(directory)
        _flush(directory.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@torch.no_grad()
def _write_weights(model: PreTrainedModel, files: list[TensorFile], folder: Path, cast: dict[str, str]) -> None:
    held, shapes = _places(files)
    with ExitStack() as stack:
        copies = {file: stack.enter_context(file.copy(folder / file.path.name, cast)) for file in files}
        for tensors in Origins(model, shapes).convert_back(shapes):
            for name, weight in tensors.items():
                after = weight.cpu().flatten()
                for file in held[name]:
                    before = file.read(name).flatten()
                    if not all(same_bits(old.to(new.dtype), new).all() for old, new in _pieces(before, after)):
                        dtype = KINDS.get(copies[file].kind(name), before.dtype)
                        copies[file].put(name, (_moved(old, new, dtype) for old, new in _pieces(before, after)))


def _places(files: list[TensorFile]) -> tuple[dict[str, list[TensorFile]], dict[str, tuple[int, ...]]]:
    """Returns, by a tensor's name, the files that hold it, and its shape."""
    held = {name: [file for file in files if name in file.entries] for file in files for name in file.entries}
    return held, {name: places[0].entries[name].shape for name, places in held.items()}


def _pieces(before: Tensor, after: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields both in pieces, so that comparing and casting take little memory, whatever the size of a weight."""
    return zip(torch.split(before, _PIECE), torch.split(after, _PIECE), strict=True)


def _moved(stored: Tensor, held: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns the file's value where the model still holds it, and the model's value elsewhere."""
    return torch.where(same_bits(stored.to(held.dtype), held), stored.to(dtype), held.to(dtype))


def _dtype_change(files: list[TensorFile], dtype: str) -> dict[str, str]:
    """Maps the kind that is replaced to its replacement; empty where none is."""
    kinds = {str(kind).removeprefix("torch."): name for name, kind in KINDS.items()}
    new, old = kinds.get(dtype), prevailing_kind(files)
    return {} if new is None or new == old else {old: new}


def _note_dtype(folder: Path, files: list[TensorFile], cast: dict[str, str], dtype: str) -> None:
    """Writes the new dtype and size of the weights into config.json and the index, and changes nothing else there."""
    ((old, new),) = cast.items()
    config = folder / "config.json"
    text = config.read_bytes().decode()
    config.write_bytes(re.sub(r'("(?:torch_)?dtype"\s*:\s*)"\w+"', rf'\g<1>"{dtype}"', text).encode())
    index = folder / INDEX
    if index.is_file():
        text = index.read_bytes().decode()
        before = json.loads(text).get("metadata", {}).get("total_size")
        elements = sum(entry.elements for file in files for entry in file.entries.values() if entry.kind == old)
        if isinstance(before, int):
            after = before + elements * (KINDS[new].itemsize - KINDS[old].itemsize)
            index.write_bytes(re.sub(r'("total_size"\s*:\s*)\d+', rf"\g<1>{after}", text, count=1).encode())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _cast(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Casts the floating-point weights to `dtype`. Tied weights, which share memory, share it afterwards too."""
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
