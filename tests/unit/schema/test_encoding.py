"""The encoding of a text file is read from it, guessed with a warning, or refused with advice."""

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schema.bad_record import BadRecord
from tests.unit.schema.read_records import outcome, read

WESTERN = "Zoë ate a crème brûlée in Málaga – “très bon”, 5 €\n\nDer Straßenbäcker grüßt; às vezes põe açúcar\n"
FIXED = settings(derandomize=True, max_examples=60, deadline=None)


def paragraphs(text: str) -> list[dict[str, str]]:
    return [{"text": part.strip("\n")} for part in text.split("\n\n")]


@pytest.mark.parametrize(
    ("codec", "name", "guessed"),
    [
        ("utf-8", "UTF-8", False),
        ("utf-8-sig", "UTF-8", False),
        ("utf-16", "UTF-16", False),
        ("utf-16-le", "UTF-16", True),
        ("utf-16-be", "UTF-16", True),
        ("utf-32", "UTF-32", False),
        ("cp1252", "Windows-1252", True),
    ],
)
def test_text_is_the_same_in_every_recognised_encoding(codec: str, name: str, guessed: bool) -> None:
    records, interpretation = read("a.txt", WESTERN.encode(codec))
    assert records == paragraphs(WESTERN)
    assert interpretation.encoding == name
    assert any(f"guessed to be {name}" in warning for warning in interpretation.warnings) == guessed


def test_big_endian_utf_16_has_a_mark_too() -> None:
    records, interpretation = read("a.txt", codecs.BOM_UTF16_BE + WESTERN.encode("utf-16-be"))
    assert (records, interpretation.warnings) == (paragraphs(WESTERN), [])


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("cp1251", "Она живёт в Пелле и работает врачом"),
        ("cp1253", "Ζει στην Πέλλα"),
        ("cp1250", "Mieszka w mieście, zażółć gęślą jaźń"),
        ("cp1250", "Bydlí v městě, příliš žluťoučký kůň"),
        ("cp1250", "Ő itt lakik, nő és őr"),
        ("cp1254", "İşçi dağda yaşıyor"),
        ("cp1255", "היא גרה בפלה"),
        ("shift-jis", "彼女はペラに住んでいます"),
        ("gbk", "她住在佩拉"),
        ("cp437", "Zoë ate a crème brûlée"),
        ("mac-roman", "Zoë ate a crème brûlée"),
    ],
)
def test_an_unrecognised_encoding_is_refused_with_advice_and_without_text(codec: str, text: str) -> None:
    with pytest.raises(BadRecord) as refused:
        read("a.txt", b"plain\n\n" + text.encode(codec))
    assert str(refused.value) == "line 3: not valid UTF-8, nor plainly Windows-1252: save the file as UTF-8"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("é\n".encode() + "é\n".encode("cp1252"), "line 2: not valid UTF-8, as the text before is: save"),
        ("é\n".encode("cp1252") + "é!\n".encode(), "line 2: not valid UTF-8, nor plainly Windows-1252: save"),
        (codecs.BOM_UTF8 + b"a\n\xe9\n", "line 2: not valid UTF-8, as the text before is: save"),
        ("one\ntwo".encode("utf-16") + b"\0", "line 2: not valid UTF-16: save"),
        (b"one\ntwo\0three\n", "line 2: a NUL character, which no text holds: save the file as UTF-8"),
        (b"PK\x03\x04SECRET", "line 1: the file is a zip archive or an Office document: unpack"),
        (b"\x1f\x8bSECRET", "line 1: the file is gzip-compressed: let its name end in .gz"),
        (b"PAR1SECRET", "line 1: the file is Parquet: let its name end in .parquet"),
    ],
)
def test_bytes_that_are_not_text_are_refused_by_line_with_advice(body: bytes, message: str) -> None:
    for size in (1, 7, len(body)):
        _, fault, _ = outcome("a.txt", body, size)
        assert fault.startswith(message)
        assert "SECRET" not in fault


def test_a_byte_of_another_encoding_far_into_the_file_is_found_by_its_line() -> None:
    body = b"plain text\n" * 5000 + "crème\n\n".encode("cp1252") + b"more\n"
    (_, last), fault, interpretation = outcome("a.txt", body, 999)
    assert (last[1].text, fault, interpretation.encoding) == ("more", "", "Windows-1252")
    _, fault, _ = outcome("a.txt", b"plain text\n\n" * 5000 + b"x\xff\n", 999)
    assert fault.startswith("line 10001: not valid UTF-8, nor plainly")


def test_words_of_another_alphabet_are_found_even_where_a_chunk_ends_within_them() -> None:
    body = "crème ".encode("cp1252") + b"plain words\n" * 500 + "свет".encode("cp1251") + b"\n"
    for size in (1, 2, 3, len(body)):
        _, fault, _ = outcome("a.txt", body, size)
        assert fault.startswith("line 501: not valid UTF-8, nor plainly Windows-1252")


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_lines_may_end_in_carriage_returns_alone(name: str) -> None:
    lines = {
        "a.txt": ["one", "two", "", "three"],
        "a.csv": ["text", '"one', 'two"', "three"],
        "a.jsonl": ['{"text": "one\\ntwo"}', '{"text": "three"}'],
    }[name]
    body = "\r".join(lines).encode()
    for size in (1, 2, 5, 100):
        records, fault, interpretation = outcome(name, body, size)
        assert ([record.text for _, record in records], fault) == (["one\ntwo", "three"], "")
        assert any("CR alone" in warning for warning in interpretation.warnings)


def test_a_carriage_return_within_a_line_stays_where_lines_end_otherwise() -> None:
    assert read("a.txt", "one\r\ntwo\rthree\r\n")[0] == [{"text": "one\ntwo\rthree"}]


@FIXED
@given(
    text=st.text(alphabet="ab é“õÃ»ž\n\r\0я", max_size=30),
    codec=st.sampled_from(["utf-8", "utf-16", "utf-16-le", "cp1252"]),
    damage=st.binary(max_size=2),
    size=st.integers(1, 9),
)
def test_the_outcome_does_not_depend_on_how_the_bytes_are_cut(text: str, codec: str, damage: bytes, size: int) -> None:
    body = text.encode(codec, "replace") + damage + b"a\n\nb"
    assert outcome("a.txt", body, size) == outcome("a.txt", body, len(body))
