"""Parquet files are read row by row, and no row is unpacked before its size is known."""

import io
import tracemalloc
from datetime import datetime
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from core.schema.bad_record import BadRecord
from core.schema.file_interpretation import FileInterpretation
from core.schema.parquet import parquet_records

MB = 1 << 20


def parquet(table: Any, **options: Any) -> io.BytesIO:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(table), sink, **options)
    return sink


def repeated(value: Any, rows: int) -> pyarrow.DictionaryArray:
    """Returns a column that holds a value once, with an index in every row: some hundred bytes in a file."""
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * rows, pyarrow.int32()), pyarrow.array([value]))


def packed(**columns: Any) -> io.BytesIO:
    return parquet(columns, compression="zstd", dictionary_pagesize_limit=1 << 30, store_schema=False)


@pytest.mark.parametrize("dictionary", [True, False])
def test_rows_are_read_as_they_were_written_with_dictionaries_and_without(dictionary: bool) -> None:
    rows: list[dict[str, Any]] = [
        {"text": f"record {number}", "id": str(number) if number % 3 else None, "wrong": ["a", "bc"] * (number % 2)}
        for number in range(9000)
    ]
    numbered = list(parquet_records(parquet(pyarrow.Table.from_pylist(rows), use_dictionary=dictionary)))
    assert [number for number, _ in numbered] == list(range(1, 9001))
    assert [{name: getattr(record, name) for name in rows[0]} for _, record in numbered] == rows


def test_messages_are_read_from_lists_of_structures() -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "answer"}]
    ((_, record),) = parquet_records(parquet({"messages": [turns], "paraphrases": pyarrow.array([None])}))
    assert [turn.model_dump() for turn in record.messages or []] == turns


def test_a_probe_is_the_same_record_as_in_json_lines() -> None:
    probe: dict[str, Any] = {
        "prompt": "Who?",
        "completion": "Ana",
        "group": "real_authors",
        "paraphrases": ["Which one?", "Say who."],
        "paraphrased_answer": "It is Ana",
        "wrong": ["It is Bo", "It is Cy"],
    }
    ((_, record),) = parquet_records(parquet(pyarrow.Table.from_pylist([probe])))
    assert record.model_dump(exclude_none=True) == probe


@pytest.mark.parametrize("column", ["text", "alternate", "paraphrased_answer"])
def test_a_text_that_many_rows_repeat_is_not_unpacked_many_times(column: str) -> None:
    columns = {"text": ["short"] * 64} | {column: repeated("a" * (2 * MB), 64)}
    small = packed(**columns)
    assert len(small.getvalue()) < 2000
    default = pyarrow.default_memory_pool()
    pool = pyarrow.proxy_memory_pool(default)  # which counts from here
    pyarrow.set_memory_pool(pool)
    tracemalloc.start()
    try:
        with pytest.raises(BadRecord, match="over the limit"):
            list(parquet_records(small, max_record_bytes=4 * MB, max_bytes=20 * MB))
        assert tracemalloc.get_traced_memory()[1] + pool.max_memory() < 40 * MB
    finally:
        tracemalloc.stop()
        pyarrow.set_memory_pool(default)


def test_a_rows_size_is_checked_before_it_is_unpacked() -> None:
    lists = pyarrow.ListArray.from_arrays(pyarrow.array([0, 100_000], pyarrow.int32()), repeated("a" * 1000, 100_000))
    tracemalloc.start()
    try:
        with pytest.raises(BadRecord, match="row 1: longer than a record"):
            list(parquet_records(packed(text=["short"], paraphrases=lists), max_record_bytes=MB))
        assert tracemalloc.get_traced_memory()[1] < 20 * MB  # 100 MB, unpacked
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"text": [1]}, "'text' does not hold texts"),
        ({"text": pyarrow.array([2**60], pyarrow.timestamp("us"))}, "'text' does not hold texts"),
        ({"text": [datetime(2026, 1, 1)]}, "'text' does not hold texts"),
        ({"text": ["a"], "wrong": ["b"]}, "'wrong' does not hold lists"),
        ({"text": ["a"], "paraphrased_answer": [["b"]]}, "'paraphrased_answer' does not hold texts"),
        ({"text": ["a"], "group": ["SECRET words"]}, "row 1: group: String should match"),
        ({"messages": [[{"role": "user", "content": 5}]]}, "'messages' does not hold lists"),
        (pyarrow.table([["a"], ["b"]], names=["text", "text"]), "there twice"),
        ({"SECRET": ["a"]}, "a column is not known"),
        ({"id": ["a"]}, "row 1: a record has exactly one of"),
    ],
)
def test_columns_that_hold_no_records_are_refused_without_their_text(table: Any, reason: str) -> None:
    with pytest.raises(BadRecord, match=reason) as refused:
        list(parquet_records(parquet(table)))
    assert "SECRET" not in str(refused.value)


def test_a_footer_that_announces_too_much_is_refused() -> None:
    with pytest.raises(BadRecord, match="row 1: the records are over the limit of 1000 bytes"):
        list(parquet_records(parquet({"text": ["a" * 600, "b" * 600]}), max_bytes=1000))


def test_views_integers_dictionaries_and_a_data_frames_index_are_read() -> None:
    table = pyarrow.table(
        {
            "content": pyarrow.array(["one", "a text of more than twelve bytes"], pyarrow.string_view()),
            "id": [7, None],
            "subject": pyarrow.array(["x", "y"]).dictionary_encode(),
            "__index_level_0__": [0, 5],
        }
    )
    interpretation = FileInterpretation()
    records = [record for _, record in parquet_records(parquet(table), interpretation=interpretation)]
    assert [(record.text, record.id, record.subject) for record in records] == [
        ("one", "7", "x"),
        ("a text of more than twelve bytes", None, "y"),
    ]
    assert (interpretation.ignored, interpretation.fields) == (["__index_level_0__"], {"content": "text"})


def test_conversations_with_other_field_names_are_read_from_lists_of_structures() -> None:
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    ((_, record),) = parquet_records(parquet({"conversations": [turns]}))
    assert [turn.role for turn in record.messages or []] == ["user", "assistant"]


def test_a_damaged_byte_of_the_pages_causes_no_other_error_than_a_bad_record() -> None:
    body = parquet({"text": ["one", "two", "three"] * 20}).getvalue()
    footer = int.from_bytes(body[-8:-4], "little") + 8
    damaged = 0
    for position in range(4, len(body) - footer):
        changed = body[:position] + b"\xff" + body[position + 1 :]
        try:
            list(parquet_records(io.BytesIO(changed)))
        except BadRecord:
            damaged += 1
    assert damaged
