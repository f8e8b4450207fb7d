"""Valid keys, ranges within an object, and pieces of equal size."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.storage.store import BadKey, clamped_range, rechunk, validated_key


@pytest.mark.parametrize("key", ["a", "files/file-018f", "checkpoints/job-1/2/model-00001-of-2.safetensors", "a/...b"])
def test_ordinary_keys_are_valid(key: str) -> None:
    assert validated_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        *("", "/", "/etc/passwd", "../x", "a/../b", "a/..", ".", "a/./b", "a//b", "a/"),
        *("a\\b", "a\0b", "a\nb", "a b", "a%2e", "a#1", "ä", "C:/x", "a" * 1025),
    ],
)
def test_keys_that_leave_their_folder_or_differ_between_stores_are_refused(key: str) -> None:
    with pytest.raises(BadKey):
        validated_key(key)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.binary(max_size=40), start=st.integers(0, 50), end=st.none() | st.integers(0, 50))
def test_a_range_is_the_same_as_a_slice(data: bytes, start: int, end: int | None) -> None:
    low, high = clamped_range(start, end, len(data))
    assert 0 <= low <= high <= len(data)
    assert data[low:high] == data[start:end]


def test_negative_bounds_are_refused() -> None:
    for start, end in ((-1, None), (0, -1)):
        with pytest.raises(ValueError, match="bounds"):
            clamped_range(start, end, 10)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(chunks=st.lists(st.binary(max_size=20), max_size=8), size=st.integers(1, 7))
async def test_rechunked_bytes_are_the_same_in_equal_sizes(chunks: list[bytes], size: int) -> None:
    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    cut = [piece async for piece in rechunk(source(), size)]
    assert b"".join(cut) == b"".join(chunks)
    assert all(len(piece) == size for piece in cut[:-1])
    assert all(0 < len(piece) <= size for piece in cut)
