"""JSON Lines, CSV and plain text are parsed record by record, however the bytes are cut."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schema.bad_record import BadRecord
from core.schema.file_interpretation import FileInterpretation
from core.schema.file_kind import detect_format
from core.schema.files import FileFormat
from core.schema.parsing import RecordReader, parse_records
from core.schema.record import Record

TEXT = st.text(min_size=1, max_size=40).filter(lambda text: text.strip() and "\0" not in text)
FIXED = settings(derandomize=True, max_examples=80, deadline=None)


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def plain(numbered: Any) -> list[dict[str, Any]]:
    return [record.model_dump(exclude_none=True) for _, record in numbered]


@FIXED
@given(texts=st.lists(TEXT, max_size=6), size=st.integers(1, 30))
def test_json_lines_are_read_as_they_were_written_however_they_are_cut(texts: list[str], size: int) -> None:
    body = "".join(json.dumps({"text": text}, ensure_ascii=bool(size % 2)) + "\n" for text in texts).encode()
    assert plain(parse_records(cut(body, size), "jsonl")) == [{"text": text} for text in texts]


@FIXED
@given(rows=st.lists(st.tuples(TEXT, st.text(max_size=9)), max_size=6), size=st.integers(1, 30))
def test_csv_is_read_as_it_was_written_quotes_and_line_breaks_included(rows: list[tuple[str, str]], size: int) -> None:
    rows = [(text.replace("\r", " ") + ".", id.replace("\r", " ").replace("\0", "")) for text, id in rows]
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "id"), *rows])
    expected = [{"text": text} | ({"id": id} if id else {}) for text, id in rows]
    assert plain(parse_records(cut(sink.getvalue().encode(), size), "csv")) == expected


def test_a_byte_order_mark_is_not_a_part_of_the_text() -> None:
    assert plain(parse_records([b"\xef\xbb\xbfa"], "txt")) == [{"text": "a"}]
    assert plain(parse_records([b'\xef\xbb\xbf{"text":"a"}'], "jsonl")) == [{"text": "a"}]


def test_paragraphs_are_numbered_by_their_first_line() -> None:
    body = b"one\r\ntwo\r\n \r\n\r\nthree\n\n\n"
    assert [(number, record.text) for number, record in parse_records([body], "txt")] == [(1, "one\ntwo"), (5, "three")]


@pytest.mark.parametrize(
    ("format", "body", "message"),
    [
        ("jsonl", "[]", "line 1: not an object"),
        ("jsonl", '{"text": "\\ud800"}', "line 1: not valid JSON"),
        ("jsonl", "[" * 100_000, "line 1: longer than"),
        ("jsonl", "[" * 5000, "line 1: not valid JSON"),
        ("jsonl", '{"text": "a", "prompt": "b"}', "line 1: a record has exactly one of"),
        ("jsonl", '{"messages": [{"role": "user", "content": "a"}]}', "line 1: messages end with the assistant"),
        ("jsonl", '{"text": "' + "é" * 501 + '"}', "line 1: the record is over the limit of 1000 bytes"),
        ("csv", 'text\n"a"b\n', "line 2: not a CSV row"),
        ("csv", "text,text\n", "line 1: the first line names the columns"),
        ("csv", "text,wrong\na,nope\n", "line 2: the cell of 'wrong' is not valid JSON"),
        ("csv", 'text,wrong\na,"[""b"", 5]"\n', "line 2: wrong.1: Input should be a valid string"),
        ("csv", 'text,wrong\na,"""b"""\n', "line 2: wrong: Input should be a valid list"),
        ("csv", "text,group\na,two words\n", "line 2: group: String should match pattern"),
        ("jsonl", '{"text": "a", "group": "' + "g" * 65 + '"}', "line 1: group: String should have at most 64"),
        ("jsonl", '{"text": "a", "paraphrased_answer": " "}', "line 1: the paraphrased answer is empty"),
        ("jsonl", '{"text": "a", "paraphrased_answer": ["b"]}', "line 1: paraphrased_answer: Input should be a valid"),
        ("csv", 'text\n"' + "a\n" * 5000, "line 2: longer than"),
        ("txt", "a\n" * 5000, "line 1: longer than"),
    ],
)
def test_an_error_names_the_line_and_the_reason(format: FileFormat, body: str, message: str) -> None:
    with pytest.raises(BadRecord) as caught:
        list(parse_records(cut(body.encode(), 64), format, max_record_bytes=1000))
    assert str(caught.value).startswith(message)


def test_the_limit_counts_the_bytes_of_text_without_the_json_around_it() -> None:
    line = json.dumps({"text": "é" * 500, "id": "x" * 200}).encode()
    assert len(line) > 3000
    assert len(list(parse_records([line], "jsonl", max_record_bytes=1000))) == 1


def test_a_reader_keeps_no_more_than_one_record_in_memory() -> None:
    reader = RecordReader("jsonl", max_record_bytes=1000)
    endless = (record for _ in range(1000) for record in reader.feed(b" " * 1000))
    with pytest.raises(BadRecord, match="line 1"):
        list(endless)
    assert sum(map(len, reader._pieces)) < 10_000


def test_the_format_is_read_from_the_file_name() -> None:
    assert [detect_format(name) for name in ("a.JSONL", "a.txt", "a.csv", "a.parquet", "a.docx", "txt")] == [
        *("jsonl", "txt", "csv", "parquet"),
        None,
        None,
    ]


def test_all_three_shapes_are_read_as_records() -> None:
    shapes: list[dict[str, Any]] = [
        {"text": "a", "subject": "s"},
        {"prompt": "a", "completion": "b", "alternate": "c"},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    ]
    body = "\n".join(json.dumps(shape) for shape in shapes).encode()
    assert [record for _, record in parse_records([body], "jsonl")] == [
        Record.model_validate(shape) for shape in shapes
    ]


PROBE: dict[str, Any] = {
    "prompt": "Who?",
    "completion": "Ana",
    "group": "real_authors",
    "paraphrases": ["Which one?", "Say who."],
    "paraphrased_answer": "It is Ana",
    "wrong": ["It is Bo", "It is Cy"],
}


def test_a_probe_is_the_same_record_in_json_lines_and_csv() -> None:
    sink = io.StringIO()
    cells = [value if isinstance(value, str) else json.dumps(value) for value in PROBE.values()]
    csv.writer(sink).writerows([list(PROBE), cells])
    assert plain(parse_records([json.dumps(PROBE).encode()], "jsonl")) == [PROBE]
    assert plain(parse_records([sink.getvalue().encode()], "csv")) == [PROBE]


def test_a_probes_questions_and_answers_count_towards_the_records_bytes() -> None:
    size = len("Who?AnaWhich one?Say who.It is AnaIt is BoIt is Cy")
    line = json.dumps(PROBE).encode()
    assert len(list(parse_records([line], "jsonl", max_record_bytes=size))) == 1
    with pytest.raises(BadRecord, match=f"over the limit of {size - 1}"):
        list(parse_records([line], "jsonl", max_record_bytes=size - 1))


def test_an_alternate_counts_towards_the_records_bytes() -> None:
    line = json.dumps({"prompt": "a", "completion": "b", "alternate": "c" * 100}).encode()
    assert len(list(parse_records([line], "jsonl", max_record_bytes=102))) == 1
    with pytest.raises(BadRecord, match="101"):
        list(parse_records([line], "jsonl", max_record_bytes=101))


def test_a_long_text_without_blank_lines_is_one_record_with_a_warning() -> None:
    interpretation = FileInterpretation()
    long, short = ("a line of words\n" * 2000).encode(), b"a line\n"
    assert len(list(parse_records([short, b"\n", long], "txt", interpretation=interpretation))) == 2
    (warning,) = interpretation.warnings
    assert warning.startswith("1 record is longer than 20000 characters, the first one beginning at line 3: a record")
    list(parse_records([short * 3], "txt", interpretation=(few := FileInterpretation())))
    assert few.warnings == []


def test_a_json_list_in_a_jsonl_file_is_refused_with_advice() -> None:
    for body in (b'[{"text": "a"}]', b'[\n  {"text": "a"}\n]'):
        with pytest.raises(BadRecord, match=r"line 1: .*list.*\.json$"):
            list(parse_records([body], "jsonl"))
