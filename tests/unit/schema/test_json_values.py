"""A .json file holds a list, objects one after another, or an object around a list; its values are read one by one."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schema.bad_record import BadRecord
from core.schema.parsing import RecordReader
from tests.unit.schema.read_records import outcome, read

FIXED = settings(derandomize=True, max_examples=80, deadline=None)
TEXT = st.text(alphabet='ab"\\{}[],:\n é', min_size=1, max_size=12).filter(str.strip)
ROWS = [{"text": "one"}, {"prompt": "a [", "completion": 'b "}'}]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=4),
        json.dumps({"data": ROWS}),
        json.dumps({"version": "1.0", "meta": {"rows": 2}, "data": ROWS, "end": None}),
        "\n".join(json.dumps(row) for row in ROWS),
        "\n\n".join(json.dumps(row, indent=2) for row in ROWS),
    ],
)
def test_every_layout_gives_the_same_records(body: str) -> None:
    assert read("a.json", body)[0] == ROWS


def test_a_single_object_may_be_a_record_with_lists() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert read("a.json", json.dumps({"messages": turns}))[0] == [{"messages": turns}]
    probe = {"wrong": ["x"], "text": "a"}
    assert read("a.json", json.dumps(probe, indent=1))[0] == [probe]


def test_texts_in_a_list_become_records_of_plain_text() -> None:
    assert read("a.json", '["one", "two"]')[0] == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('[{"text": "a"},\n {"text": SECRET}]', "record 2 (line 2): not valid JSON"),
        ('[{"text": "a"},\n\n {"text": " "}]', "record 2 (line 3): the record is empty"),
        ('[{"text": "a"}\n {"text": "b"}]', "record 1 (line 2): not valid JSON: a comma is missing"),
        ('[{"text": "a"},]', "record 1 (line 1): not valid JSON: a comma before the end"),
        ('[{"text": "a"}, 5]', "record 2 (line 1): not an object"),
        ('[{"text": "a"}, ["SECRET"]]', "record 2 (line 1): not an object"),
        ('[{"text": "a"}', "record 1 (line 1): the file ends before its JSON does"),
        ('[{"text": "SECRET', "record 1 (line 1): the file ends before its JSON does"),
        ('{"data": [{"text": "a"}]', "line 1: the file ends before its JSON does"),
        ('[{"text": "a"}]\n[{"text": "b"}]', "line 2: there is more after the list"),
        ('{"text": "a"}\n[{"text": "b"}]', "line 2: not valid JSON"),
        ('{"SECRET": [{"text": "a"}], "b": [{"text": "c"}]}', "line 1: more than one list"),
        ('{"data": [{"text": "a"}], "text": "SECRET"}', "line 1: both a record and a list of records"),
        ('{"text": ["a", "b"], "id": [1, 2]}', "line 1: columns, not records: save a list of records (pandas"),
        ('{"id": {"0": 1}, "text": {"0": "a"}}', "line 1: columns, not records: save a list of records (pandas"),
        ('{"SECRET": {"data": [{"text": "a"}]}}', "record 1 (line 1): a field is not known; a record has: text"),
        ('[{"text": "a", "text": "b"}]', "record 1 (line 1): the key 'text' is there twice in one object"),
        ("SECRET", "line 1: not an object, nor a list of objects"),
        ('[{"text": "' + "a" * 9000 + '"}]', "record 1 (line 1): longer than a record of 1000 bytes can be"),
    ],
)
def test_an_error_names_the_record_and_the_line(body: str, message: str) -> None:
    for size in (1, 3, 64, len(body)):
        _, fault, _ = outcome("a.json", body.encode(), size, max_record_bytes=1000)
        assert fault.startswith(message)
        assert "SECRET" not in fault


@FIXED
@given(
    texts=st.lists(TEXT, max_size=5),
    indent=st.sampled_from([None, 1]),
    in_object=st.booleans(),
    cut=st.integers(0, 60),
    size=st.integers(1, 30),
)
def test_the_records_do_not_depend_on_how_the_bytes_are_cut(
    texts: list[str], indent: int | None, in_object: bool, cut: int, size: int
) -> None:
    rows: Any = [{"text": text, "id": number} for number, text in enumerate(texts)]
    body = json.dumps(
        {"rows": rows, "n": 1} if in_object else rows, indent=indent, ensure_ascii=bool(size % 2)
    ).encode()
    records, fault, _ = outcome("a.json", body, size)
    assert ([record.text for _, record in records], fault) == (texts, "")
    damaged = body[:cut] + body[cut + 1 :]
    assert outcome("a.json", damaged, size) == outcome("a.json", damaged, len(body))


def test_an_endless_list_is_read_in_the_memory_of_one_record() -> None:
    reader = RecordReader("json", max_record_bytes=10_000)
    piece = (json.dumps({"text": "a" * 1000}) + ",").encode() * 50
    assert not list(reader.feed(b"["))
    count = sum(1 for _ in reader.feed(piece))
    tracemalloc.start()
    try:
        count += sum(1 for _ in range(100) for _ in reader.feed(piece))  # 5 MB
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert count == 50 * 101
    with pytest.raises(BadRecord, match="longer than a record"):
        list(reader.feed(b'{"text": "' + b"a" * 100_000))
