"""Sealed files of named tensors: a list of names, dtypes and shapes, then the tensors' bytes without gaps.

length(8, little-endian) JSON of that length: [[name, dtype as torch names it, shape], …]     tensor…
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from core.lm.sealed_file import SealedReader, SealedWriter

_LENGTH = struct.Struct("<Q")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], key: bytes, context: bytes) -> None:
    """Writes a new file. Tensors come from their device one at a time. Raises OSError."""
    described = [
        [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)] for name, tensor in tensors.items()
    ]
    header = json.dumps(described).encode()
    with SealedWriter(path, key, context) as file:
        file.write(_LENGTH.pack(len(header)) + header)
        for tensor in tensors.values():
            file.write(_bytes_of(tensor.detach().cpu().contiguous()))


def read_tensors(path: Path, key: bytes, context: bytes) -> Iterator[tuple[str, Tensor]]:
    """Yields every tensor with its name, on the CPU, one at a time. Raises SealBroken, OSError."""
    with SealedReader(path, key, context) as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        for name, dtype, shape in json.loads(file.read(length)):
            tensor = torch.empty(shape, dtype=getattr(torch, dtype))
            file.read_into(_bytes_of(tensor))
            yield name, tensor
        file.verify_rest()


def _bytes_of(tensor: Tensor) -> memoryview:
    """Returns the memory of a contiguous tensor on the CPU."""
    return tensor.view(-1).view(torch.uint8).numpy().data
