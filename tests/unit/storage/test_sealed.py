"""Sealed streams open complete and in order, or not at all."""

import secrets
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schema.sealed_segments import HEADER, SEGMENT, TAG
from core.storage.sealed import (
    SealBroken,
    new_data_key,
    open_sealed,
    seal,
    sealed_size,
    unwrap,
    wrap,
)

KEY = bytes(range(32))


async def stream(data: bytes, size: int = 1 << 20) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def sealed(data: bytes, key: bytes = KEY) -> bytes:
    return b"".join([piece async for piece in seal(stream(data), key)])


async def opened(data: bytes, key: bytes = KEY, size: int = 1 << 20) -> bytes:
    return b"".join([piece async for piece in open_sealed(stream(data, size), key)])


def segments(data: bytes) -> list[bytes]:
    body = data[HEADER:]
    return [body[start : start + SEGMENT + TAG] for start in range(0, len(body), SEGMENT + TAG)]


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 3 * SEGMENT + 7])
async def test_sealed_data_opens_and_has_the_size_of_sealed_size(size: int) -> None:
    data = secrets.token_bytes(size)
    content = await sealed(data)
    assert len(content) == sealed_size(size)
    assert await opened(content) == data


@settings(max_examples=30, deadline=None, derandomize=True)
@given(size=st.integers(0, 3 * SEGMENT), cut=st.integers(1, 2 * SEGMENT))
async def test_a_stream_opens_however_it_is_cut(size: int, cut: int) -> None:
    data = bytes(size)
    assert await opened(await sealed(data), size=cut) == data


async def test_the_text_does_not_show_and_no_two_seals_are_alike() -> None:
    data = b"the secret" * 10_000
    first, second = await sealed(data), await sealed(data)
    assert b"the secret" not in first
    assert first[HEADER:] != second[HEADER:]


@pytest.mark.parametrize("place", [0, 5, HEADER, HEADER + SEGMENT + TAG + 3, -1])
async def test_an_altered_bit_is_noticed_anywhere(place: int) -> None:
    content = bytearray(await sealed(bytes(2 * SEGMENT)))
    content[place] ^= 1
    with pytest.raises(SealBroken):
        await opened(bytes(content))


@pytest.mark.parametrize(
    "kept", [0, 4, HEADER, HEADER + 1, HEADER + SEGMENT + TAG, HEADER + 2 * (SEGMENT + TAG), -1], ids=str
)
async def test_a_stream_that_was_cut_short_is_noticed_even_between_two_segments(kept: int) -> None:
    content = await sealed(bytes(3 * SEGMENT))
    with pytest.raises(SealBroken):
        await opened(content[:kept])


async def test_segments_in_another_order_are_noticed() -> None:
    content = await sealed(secrets.token_bytes(4 * SEGMENT))
    first, second, *rest = segments(content)
    with pytest.raises(SealBroken):
        await opened(content[:HEADER] + second + first + b"".join(rest))


async def test_a_segment_that_is_missing_or_doubled_is_noticed() -> None:
    content = await sealed(secrets.token_bytes(4 * SEGMENT))
    first, second, *rest = segments(content)
    for altered in ([first, *rest], [first, second, second, *rest]):
        with pytest.raises(SealBroken):
            await opened(content[:HEADER] + b"".join(altered))


async def test_a_segment_swapped_in_from_another_stream_under_the_same_key_is_noticed() -> None:
    first, second = await sealed(bytes(3 * SEGMENT)), await sealed(bytes(3 * SEGMENT))
    swapped = [segments(first)[0], segments(second)[1], segments(first)[2]]
    with pytest.raises(SealBroken):
        await opened(first[:HEADER] + b"".join(swapped))


async def test_appended_bytes_are_noticed() -> None:
    content = await sealed(bytes(SEGMENT))
    for more in (b"x", segments(content)[0]):
        with pytest.raises(SealBroken):
            await opened(content + more)


async def test_a_wrong_key_opens_nothing() -> None:
    with pytest.raises(SealBroken):
        await opened(await sealed(b"text"), new_data_key())


async def test_segments_come_out_before_the_stream_has_ended() -> None:
    content = await sealed(bytes(3 * SEGMENT))
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        async for piece in stream(content, SEGMENT):
            taken += len(piece)
            yield piece

    opening = open_sealed(counted(), KEY)
    assert await anext(opening) == bytes(SEGMENT)
    assert taken < len(content)


def test_a_wrapped_key_opens_with_its_service_key_in_its_context_only() -> None:
    data_key, service_key = new_data_key(), new_data_key()
    wrapped = wrap(data_key, service_key, b"file-1")
    assert data_key not in wrapped
    assert unwrap(wrapped, service_key, b"file-1") == data_key
    altered = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    for bad, key, context in [
        (wrapped, service_key, b"file-2"),
        (wrapped, new_data_key(), b"file-1"),
        (altered, service_key, b"file-1"),
        (wrapped[:-1], service_key, b"file-1"),
        (wrapped[4:], service_key, b"file-1"),
        (b"", service_key, b"file-1"),
    ]:
        with pytest.raises(SealBroken):
            unwrap(bad, key, context)


def test_data_keys_are_fresh_and_of_256_bits() -> None:
    assert len({new_data_key() for _ in range(10)}) == 10
    assert len(new_data_key()) == 32
