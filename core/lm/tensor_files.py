"""The safetensors files that a model is loaded from, read tensor by tensor, and copies of them with changed values.

Format: huggingface/safetensors, README: eight bytes of length, a JSON header, then the tensors without gaps.
"""

import json
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import safe_open
from torch import Tensor

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
KINDS = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""The dtypes of weights by safetensors' names. A file's tensors of other kinds are buffers."""

_ALIGNMENT = 8
_PIECE = 1 << 24
"""Bytes that are copied at a time."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its kind as safetensors names it, and where its bytes lie after the header."""

    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        return torch.Size(self.shape).numel()


class TensorFile:
    """One safetensors file. Tensors are mapped, so that a tensor takes memory only once it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            self._header = file.read(length)
        described: dict[str, Any] = json.loads(self._header)
        self._metadata = described.pop("__metadata__", None)
        entries = {
            name: Entry(about["dtype"], tuple(about["shape"]), *about["data_offsets"])
            for name, about in described.items()
        }
        self.entries = dict(sorted(entries.items(), key=lambda item: item[1].begin))
        self._stack = ExitStack()
        self._reader = self._stack.enter_context(safe_open(path, "pt"))

    def read(self, name: str) -> Tensor:
        """Returns the tensor as the file holds it, on the CPU."""
        tensor: Tensor = self._reader.get_tensor(name)
        return tensor

    def close(self) -> None:
        self._stack.close()

    @contextmanager
    def copy(self, target: Path, cast: dict[str, str]) -> Iterator["Copy"]:
        """Writes the file again, with the tensors that the copy is given and the source's bytes for all others.

        Header, metadata, order and dtypes are the source's, but `cast` maps kinds to the kinds that replace them.
        """
        header, entries = (self._header, self.entries) if self._keeps(cast) else self._new_header(cast)
        with target.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            copy = Copy(file, entries, first=8 + len(header))
            yield copy
            with self.path.open("rb") as source:
                for name, entry in self.entries.items():
                    if name in copy.written:
                        continue
                    if entries[name].kind == entry.kind:
                        source.seek(8 + len(self._header) + entry.begin)
                        copy.take(name, source)
                    else:
                        copy.put(name, [self.read(name)])

    def _keeps(self, cast: dict[str, str]) -> bool:
        return not any(cast.get(entry.kind, entry.kind) != entry.kind for entry in self.entries.values())

    def _new_header(self, cast: dict[str, str]) -> tuple[bytes, dict[str, Entry]]:
        sizes = {
            name: (entry.end - entry.begin) // KINDS[entry.kind].itemsize * KINDS[cast[entry.kind]].itemsize
            if entry.kind in cast
            else entry.end - entry.begin
            for name, entry in self.entries.items()
        }
        # wide elements first, as safetensors orders them: each tensor then begins at a multiple of its element's size
        order = sorted(sizes, key=lambda name: -sizes[name] // max(1, self.entries[name].elements))
        entries, offset = {}, 0
        for name in order:
            entry = self.entries[name]
            entries[name] = Entry(cast.get(entry.kind, entry.kind), entry.shape, offset, offset + sizes[name])
            offset += sizes[name]
        described: dict[str, Any] = {} if self._metadata is None else {"__metadata__": self._metadata}
        for name, entry in entries.items():
            described[name] = {"dtype": entry.kind, "shape": entry.shape, "data_offsets": [entry.begin, entry.end]}
        header = json.dumps(described, separators=(",", ":")).encode()
        return header + b" " * (-len(header) % _ALIGNMENT), entries


class Copy:
    """A safetensors file that is being written, tensor by tensor in any order."""

    def __init__(self, file: BinaryIO, entries: dict[str, Entry], *, first: int) -> None:
        self.written: set[str] = set()
        self._file, self._entries, self._first = file, entries, first

    def kind(self, name: str) -> str:
        """Returns the kind that a tensor is written in."""
        return self._entries[name].kind

    def put(self, name: str, pieces: Iterable[Tensor]) -> None:
        """Writes a tensor, piece after piece, cast to its dtype in the file. Raises ValueError for another size."""
        entry = self._entries[name]
        self._file.seek(self._first + entry.begin)
        for piece in pieces:
            piece = piece.to("cpu", KINDS.get(entry.kind, piece.dtype)).contiguous().flatten()
            self._file.write(piece.view(torch.uint8).numpy().data)
        if self._file.tell() != self._first + entry.end:
            raise ValueError(f"'{name}' is not written in the size that its entry has")
        self.written.add(name)

    def take(self, name: str, source: BinaryIO) -> None:
        """Copies a tensor's bytes from the present position of `source`."""
        entry = self._entries[name]
        self._file.seek(self._first + entry.begin)
        left = entry.end - entry.begin
        while left:
            piece = source.read(min(left, _PIECE))
            if not piece:
                raise EOFError("the source ends before its last tensor")
            self._file.write(piece)
            left -= len(piece)
        self.written.add(name)


def tensor_files(directory: Path) -> list[Path]:
    """Returns the files that transformers loads: the single file, else the index's shards, else none."""
    if (directory / SINGLE).is_file():
        return [directory / SINGLE]
    names = {name for index in index_files(directory) for name in json.loads(index.read_bytes())["weight_map"].values()}
    return [directory / name for name in sorted(names)]


def index_files(directory: Path) -> list[Path]:
    """Returns the index, if the files that are loaded are named by it."""
    index = directory / INDEX
    return [index] if index.is_file() and not (directory / SINGLE).is_file() else []


def open_files(directory: Path, stack: ExitStack) -> list[TensorFile]:
    """Opens the files that transformers loads, until `stack` closes."""
    return [stack.enter_context(closing(TensorFile(path))) for path in tensor_files(directory)]


def prevailing_kind(files: Sequence[TensorFile]) -> str:
    """Returns the kind that most of the weights are stored in; F32 where there are none."""
    counts = Counter({"F32": 0})
    for file in files:
        for entry in file.entries.values():
            if entry.kind in KINDS:
                counts[entry.kind] += entry.elements
    return counts.most_common(1)[0][0]
