"""Passages of texts in a folder: prose of a bounded length, each once, chosen by the seed."""

import gzip
from pathlib import Path

from benchmarks.passages import LONGEST, SHORTEST, cut, draw

SENTENCE = "The tenth clause of this agreement names the person who keeps the seal of the city. "


def test_short_paragraphs_are_joined_and_long_ones_cut_behind_a_sentence() -> None:
    short = "\n\n".join([SENTENCE.strip()] * 3)
    (joined,) = cut(short)
    assert joined == (SENTENCE * 3).strip()
    pieces = cut(SENTENCE * 12)
    assert len(pieces) == 4
    for piece in pieces:
        assert SHORTEST <= len(piece.split()) <= LONGEST
        assert piece.endswith("city.")


def test_tables_and_code_are_left_out() -> None:
    table = "\n".join("| 12 | 34.5 % | #67 |" for _ in range(40))
    assert cut(table) == []
    assert cut(f"{SENTENCE * 3}\n\n{table}\n\n{SENTENCE * 3}") == [(SENTENCE * 3).strip()] * 2


def test_a_sentence_that_is_longer_than_a_passage_is_left_out() -> None:
    assert cut("word " * (LONGEST + 1)) == []


def test_packed_and_plain_files_are_read_and_equal_passages_kept_once(tmp_path: Path) -> None:
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    text = "\n\n".join(SENTENCE.replace("tenth", number) * 3 for number in numbers)
    (tmp_path / "plain").write_text(text)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    records = draw(tmp_path, 100, seed=0)
    assert len(records) == len(numbers)
    assert draw(tmp_path, 3, seed=0) == draw(tmp_path, 3, seed=0) != draw(tmp_path, 3, seed=1)
    assert len(draw(tmp_path, 3, seed=0)) == 3
