"""Rows of numbers, computed once and read many times: one copy for all ranks, in memory or on disk."""

import mmap
import os
import secrets
import tempfile
from math import prod

import torch
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from torch import Tensor

from core.lm.process_group import Ranks

IN_MEMORY = 1 << 30
"""Bytes of the largest store that is kept in memory."""
_BLOCK = 16  # bytes of AES


class RowStore:
    """(rows, ...) on the CPU, each row put once and read any number of times.

    A store over IN_MEMORY lies in a file without a name under the process' temporary directory. Its content is computed
    from text that is to be forgotten, so it is encrypted (AES-256 in counter mode, every row at its own counter) under
    a key that ends with the processes.
    """

    def __init__(self, rows: int, shape: tuple[int, ...], dtype: torch.dtype, ranks: Ranks) -> None:
        """Makes the store, in all ranks together. After a barrier each rank sees the rows of all.

        Raises OSError of a full disk.
        """
        self._shape, self._dtype = shape, dtype
        self._bytes = prod(shape) * dtype.itemsize  # of a row
        on_disk = rows * self._bytes > IN_MEMORY
        self._stride = -(-self._bytes // _BLOCK) * _BLOCK if on_disk else self._bytes
        self._key = ranks.broadcast(secrets.token_bytes(32)) if on_disk else None
        self._memory = _shared(rows * self._stride, ranks, on_disk=on_disk)

    def put(self, start: int, values: Tensor) -> None:
        """Stores rows (n, ...), from number `start` on."""
        if not len(values):
            return
        lines = values.detach().cpu().contiguous().view(torch.uint8).reshape(len(values), self._bytes)
        if self._key is not None:
            padded = torch.zeros(len(values), self._stride, dtype=torch.uint8)
            padded[:, : self._bytes] = lines
            data = self._stream(start).update(padded.numpy().tobytes())
        else:
            data = lines.numpy().tobytes()
        self._memory[start * self._stride : start * self._stride + len(data)] = data

    def rows(self, index: Tensor) -> Tensor:
        """Returns the rows with these numbers, an index on the CPU: (n,) -> (n, ...)."""
        numbers = index.tolist()
        rows = torch.empty((len(numbers), *self._shape), dtype=self._dtype)
        first = 0
        for last in range(1, len(numbers) + 1):
            if last == len(numbers) or numbers[last] != numbers[last - 1] + 1:
                rows[first:last] = self._read(numbers[first], last - first)
                first = last
        return rows

    def all_rows(self) -> Tensor:
        """Returns all rows."""
        return self._read(0, len(self._memory) // self._stride) if self._stride else torch.empty(0)

    def _read(self, start: int, count: int) -> Tensor:
        data = memoryview(self._memory)[start * self._stride : (start + count) * self._stride]
        plain = bytearray(data if self._key is None else self._stream(start).update(data))
        lines = torch.frombuffer(plain, dtype=torch.uint8).view(count, self._stride)[:, : self._bytes]
        return lines.contiguous().view(self._dtype).view(count, *self._shape)

    def _stream(self, row: int) -> CipherContext:
        """Returns the cipher that encrypts and decrypts from a row on; the counter is the number of the block."""
        if self._key is None:
            raise ValueError("a store in memory is not encrypted")
        return Cipher(AES(self._key), CTR((row * self._stride // _BLOCK).to_bytes(_BLOCK, "big"))).encryptor()


def _shared(size: int, ranks: Ranks, *, on_disk: bool) -> mmap.mmap:
    """Returns `size` bytes that all ranks share. They have no name, so they end with the processes."""
    if ranks.count == 1 and not on_disk:
        return mmap.mmap(-1, max(1, size))
    descriptor = -1
    if ranks.rank == 0:
        if on_disk:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
            os.posix_fallocate(descriptor, 0, size)  # a full disk raises here, instead of a signal later
        else:
            descriptor = os.memfd_create("table")
            os.ftruncate(descriptor, max(1, size))
    path = ranks.broadcast(f"/proc/{os.getpid()}/fd/{descriptor}")
    if ranks.rank != 0:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    memory = mmap.mmap(descriptor, max(1, size))
    ranks.barrier()
    os.close(descriptor)
    return memory
