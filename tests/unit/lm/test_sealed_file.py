"""Sealed files open in the same pieces and in any other, complete and in order, or not at all."""

import secrets
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from core.lm.sealed_file import SealBroken, SealedReader, SealedWriter
from core.lm.sealed_tensors import read_tensors, write_tensors
from core.schema.sealed_segments import HEADER, SEGMENT, TAG
from core.storage.sealed import open_sealed

KEY, CONTEXT = bytes(range(32)), b"1/2/a file"


def write(path: Path, data: bytes, piece: int = 1 << 20) -> Path:
    with SealedWriter(path, KEY, CONTEXT) as file:
        for start in range(0, len(data), piece):
            file.write(data[start : start + piece])
    return path


def read(path: Path, key: bytes = KEY, context: bytes = CONTEXT) -> bytes:
    with SealedReader(path, key, context) as file:
        return file.read_rest()


def verify(path: Path) -> None:
    with SealedReader(path, KEY, CONTEXT) as file:
        file.verify_rest()


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT, 3 * SEGMENT + 7])
@pytest.mark.parametrize("piece", [1000, SEGMENT, 1 << 20])
def test_a_file_opens_however_it_was_written_and_is_read(tmp_path: Path, size: int, piece: int) -> None:
    data = secrets.token_bytes(size)
    path = write(tmp_path / "file", data, piece)
    assert path.stat().st_size == HEADER + size + TAG * max(1, -(-size // SEGMENT))
    verify(path)
    assert read(path) == data
    with SealedReader(path, KEY, CONTEXT) as file:
        assert file.read(size // 3) + file.read_rest() == data


async def test_the_form_is_that_of_uploads(tmp_path: Path) -> None:
    data = secrets.token_bytes(SEGMENT + 9)
    with SealedWriter(tmp_path / "file", KEY, b"") as file:
        file.write(data)

    async def chunks():  # type: ignore[no-untyped-def]
        yield (tmp_path / "file").read_bytes()

    assert b"".join([piece async for piece in open_sealed(chunks(), KEY)]) == data


@pytest.mark.parametrize("place", [0, 5, HEADER, HEADER + SEGMENT + TAG + 3, -1])
def test_a_changed_bit_is_noticed_anywhere(tmp_path: Path, place: int) -> None:
    path = write(tmp_path / "file", bytes(2 * SEGMENT))
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    for opening in (read, verify):
        with pytest.raises(SealBroken):
            opening(path)


@pytest.mark.parametrize("kept", [0, 4, HEADER, HEADER + 1, HEADER + SEGMENT + TAG, -1])
def test_a_file_that_was_cut_short_is_noticed_even_between_two_segments(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "file", bytes(3 * SEGMENT))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SealBroken):
        verify(path)


def test_a_file_whose_writing_broke_off_does_not_open(tmp_path: Path) -> None:
    with suppress(InterruptedError), SealedWriter(tmp_path / "file", KEY, CONTEXT) as file:
        file.write(bytes(SEGMENT))
        raise InterruptedError
    with pytest.raises(SealBroken):
        verify(tmp_path / "file")


def test_a_file_opens_with_its_own_key_and_in_its_own_place_only(tmp_path: Path) -> None:
    path = write(tmp_path / "file", b"text")
    with pytest.raises(SealBroken):
        read(path, key=bytes(32))
    with pytest.raises(SealBroken):
        read(path, context=b"1/3/a file")


def test_more_than_the_file_has_cannot_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "file", b"text")
    with SealedReader(path, KEY, CONTEXT) as file, pytest.raises(SealBroken):
        file.read(5)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.rand(300, 100).T,
        torch.tensor(3, dtype=torch.int64),
        torch.zeros(0, 4),
        torch.arange(5, dtype=torch.uint8),
        torch.tensor([True, False]),
        torch.rand(7).to(torch.bfloat16),
        torch.rand(8).to(torch.float8_e4m3fn),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tuple(tensor.shape)}",
)
def test_a_tensor_comes_back_as_it_was(tmp_path: Path, tensor: torch.Tensor) -> None:
    write_tensors(tmp_path / "file", {"a": tensor, "b": torch.ones(2)}, KEY, CONTEXT)
    stored = dict(read_tensors(tmp_path / "file", KEY, CONTEXT))
    assert list(stored) == ["a", "b"]
    assert (stored["a"].dtype, stored["a"].shape) == (tensor.dtype, tensor.shape)
    assert stored["a"].view(-1).view(torch.uint8).equal(tensor.contiguous().view(-1).view(torch.uint8))
