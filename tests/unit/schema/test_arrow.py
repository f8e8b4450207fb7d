"""Arrow files and streams are read batch by batch, and no batch unpacks to more than the limit."""

import io
import tracemalloc
from contextlib import suppress
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schema import arrow
from core.schema.arrow import arrow_records
from core.schema.bad_record import BadRecord
from core.schema.flatbuffer import root_table
from tests.unit.schema.read_records import read

MB = 1 << 20
TURNS = [{"role": "user", "content": "q", "weight": None}, {"role": "assistant", "content": "a", "weight": 1}]


def arrow_file(table: Any, *, kind: str = "file", compression: str | None = None, rows: int | None = None) -> bytes:
    sink, options = io.BytesIO(), pyarrow.ipc.IpcWriteOptions(compression=compression)
    table = table if isinstance(table, pyarrow.Table) else pyarrow.table(table)
    with getattr(pyarrow.ipc, f"new_{kind}")(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


@pytest.mark.parametrize("kind", ["file", "stream"])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_rows_are_read_as_they_were_written_for_every_type_of_column(kind: str, compression: str | None) -> None:
    table = pyarrow.table(
        {
            "question": pyarrow.array(["a longer question than twelve bytes", "b"] * 50, pyarrow.string_view()),
            "answer": pyarrow.array(["yes", "no"] * 50, pyarrow.large_string()),
            "id": list(range(100)),
            "subject": pyarrow.array(["x", None] * 50).dictionary_encode(),
            "wrong": [["c", "d"], None] * 50,
            "__index_level_0__": list(range(100)),
        }
    )
    records, interpretation = read("a.arrow", arrow_file(table, kind=kind, compression=compression, rows=7))
    first = {"prompt": "a longer question than twelve bytes", "completion": "yes", "id": "0", "subject": "x"}
    assert records[:2] == [first | {"wrong": ["c", "d"]}, {"prompt": "b", "completion": "no", "id": "1"}]
    assert (len(records), interpretation.ignored) == (100, ["__index_level_0__"])
    assert interpretation.shapes == ["question and answer"]


def test_messages_are_read_from_lists_of_structures_and_their_weight_is_ignored() -> None:
    records, interpretation = read("a.feather", arrow_file({"messages": [TURNS]}))
    assert records == [{"messages": [{"role": turn["role"], "content": turn["content"]} for turn in TURNS]}]
    assert interpretation.ignored == ["weight"]


def test_a_batch_that_would_unpack_to_too_much_is_refused_before_it_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrow, "MAX_BATCH_BYTES", 10 * MB)
    bomb = arrow_file({"text": ["a" * (100 * MB)]}, compression="zstd")
    assert len(bomb) < 100_000
    default = pyarrow.default_memory_pool()
    pool = pyarrow.proxy_memory_pool(default)
    pyarrow.set_memory_pool(pool)
    try:
        with pytest.raises(BadRecord, match="row 1: a batch of more than 10 MB unpacked: write batches of fewer rows"):
            read("a.arrow", bomb)
        assert pool.max_memory() < 10 * MB
    finally:
        pyarrow.set_memory_pool(default)


def test_a_text_that_many_rows_share_as_a_view_is_not_unpacked_many_times() -> None:
    once = pyarrow.array(["a" * MB], pyarrow.string_view())
    views = pyarrow.Array.from_buffers(
        pyarrow.string_view(), 500, [None, pyarrow.py_buffer(once.buffers()[1].to_pybytes() * 500), *once.buffers()[2:]]
    )
    body = arrow_file({"text": views})
    tracemalloc.start()
    try:
        with pytest.raises(BadRecord, match="over the limit of 20971520 bytes"):
            read("a.arrow", body, max_bytes=20 * MB)
        assert tracemalloc.get_traced_memory()[1] < 40 * MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"SECRET and more of it", "row 1: not an Arrow file of format 1.0 or later"),
        (b"FEA1SECRET", "row 1: Feather version 1: write it as version 2"),
        (arrow_file({"text": [1]}), "row 1: the column 'text' does not hold texts"),
        (arrow_file({"SECRET": ["a"]}), "row 1: a column is not known"),
        (arrow_file({"text": ["a", " "]}), "row 2: the record is empty"),
        (arrow_file({"text": ["a"] * 100}, rows=50)[:-800], "the file is damaged here"),
    ],
)
def test_a_file_without_records_is_refused_without_its_text(body: bytes, reason: str) -> None:
    with pytest.raises(BadRecord, match=reason) as refused:
        read("a.arrow", body)
    assert "SECRET" not in str(refused.value)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(position=st.integers(0, 2000), value=st.integers(0, 255), compressed=st.booleans())
def test_a_damaged_byte_gives_a_bad_record_or_another_text_but_never_a_crash(
    position: int, value: int, compressed: bool
) -> None:
    table = {"text": ["a longer text than twelve bytes", "b"] * 20, "wrong": [["c"], None] * 20}
    body = bytearray(arrow_file(table, compression="lz4" if compressed else None))
    body[position % len(body)] = value
    with suppress(BadRecord):  # any other exception fails the test
        assert len(list(arrow_records(io.BytesIO(bytes(body)), max_bytes=MB))) <= 40


def test_a_missing_field_of_a_flatbuffers_table_is_zero_or_empty() -> None:
    # root offset 8; vtable at 4 (size 4: no fields); table at 8 whose vtable is 4 before it
    buffer = b"\x08\0\0\0" + b"\x04\0\x04\0" + b"\x04\0\0\0"
    table = root_table(buffer)
    assert (table.number(0, "q"), table.table(1), table.pairs(2, "<qq")) == (0, None, [])
