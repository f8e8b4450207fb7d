"""CSV files as spreadsheets and data frames write them."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schema.bad_record import BadRecord
from tests.unit.schema.read_records import outcome, read

CELL = st.text(alphabet='ab,;\t|"\n é', max_size=8).map(lambda text: f"x{text}")


@settings(derandomize=True, max_examples=80, deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=4),
    separator=st.sampled_from(",;\t|"),
    size=st.integers(1, 9),
)
def test_the_separator_is_read_from_the_header(rows: list[tuple[str, str]], separator: str, size: int) -> None:
    sink = io.StringIO()
    csv.writer(sink, delimiter=separator).writerows([("question", "answer"), *rows])
    records, fault, interpretation = outcome("a.csv", sink.getvalue().encode(), size)
    assert ([(record.prompt, record.completion) for _, record in records], fault) == (rows, "")
    assert interpretation.separator == {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}[separator]


def test_cells_of_a_tsv_with_one_column_may_hold_commas() -> None:
    assert read("a.tsv", "text\nred, green\n")[0] == [{"text": "red, green"}]


def test_excels_line_that_names_the_separator_is_not_a_part_of_the_table() -> None:
    records, interpretation = read("a.csv", "sep=;\ntext\none; two\n".replace("one; two", '"one; two"'))
    assert (records, interpretation.separator) == ([{"text": "one; two"}], "semicolon")


@pytest.mark.parametrize("index", ["", "Unnamed: 0", "__index_level_0__", "index"])
def test_a_data_frames_index_is_ignored_and_reported(index: str) -> None:
    records, interpretation = read("a.csv", f"{index},text\n0,one\n1,two\n")
    assert records == [{"text": "one"}, {"text": "two"}]
    assert interpretation.ignored == [index.lower() or "the unnamed column"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("text,id\na,1\ntext,id\nb,2\n", "line 3: a header again, as where two files were joined"),
        ("text\na\n\ufefftext\nb\n", "line 3: a header again, as where two files were joined"),
        ("id,text\n1,a\ntext,id\nb,2\n", "line 3: a header again, as where two files were joined"),
        ("text,id\na,1\nprompt,completion\nb,2\n", "line 3: a header again, as where two files were joined"),
        ("text,id,text\n", "line 1: the first line names the columns, each once"),
        ("text,SECRET\n", "line 1: the first line names the columns, each once"),
        (",text\nSECRET,a\n", "line 2: the unnamed column does not hold row numbers"),
        ("text;id\nSECRET\n", "line 2: 1 cells where the header has 2: put cells with a semicolon or a line break"),
        ('text\n"SECRET" b\n', "line 2: not a CSV row (RFC 4180): a quote inside a quoted cell is written twice"),
    ],
)
def test_an_error_names_the_line_and_the_remedy(body: str, message: str) -> None:
    with pytest.raises(BadRecord) as refused:
        read("a.csv", body)
    assert str(refused.value).startswith(message)
    assert "SECRET" not in str(refused.value)


def test_a_repeated_column_is_named() -> None:
    with pytest.raises(BadRecord, match="the column 'text' is there twice"):
        read("a.csv", "text;id;Text\n")


def test_a_row_with_a_word_of_the_header_is_a_record() -> None:
    assert read("a.csv", "text,id\nbody,7\ntext,8\n")[0] == [{"text": "body", "id": "7"}, {"text": "text", "id": "8"}]
