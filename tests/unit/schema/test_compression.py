"""Compressed files are decompressed piece by piece, within a limit."""

import gzip
import json
import tracemalloc

import pyarrow
import pytest

from core.schema import compression
from core.schema.bad_record import BadRecord
from core.schema.file_kind import UnknownFileKind, detect_file_kind
from tests.unit.schema.read_records import read

LINES = b"".join(json.dumps({"text": f"record {number}"}).encode() + b"\n" for number in range(3000))


def zstd(data: bytes) -> bytes:
    compressed: bytes = pyarrow.compress(data, codec="zstd", asbytes=True)
    return compressed


@pytest.mark.parametrize(
    ("name", "body", "compression"),
    [
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0), "gzip"),
        ("a.jsonl.gz", gzip.compress(LINES[:99], mtime=0) + gzip.compress(LINES[99:], mtime=0), "gzip"),
        ("a.JSONL.ZST", zstd(LINES), "zstd"),
        ("a.jsonl.zst", zstd(LINES[:99]) + zstd(LINES[99:]), "zstd"),
    ],
)
def test_compressed_lines_are_read_as_the_lines_themselves(name: str, body: bytes, compression: str) -> None:
    records, interpretation = read(name, body)
    assert [record["text"] for record in records] == [f"record {number}" for number in range(3000)]
    assert (interpretation.compression, interpretation.encoding) == (compression, "UTF-8")


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_compressed_data_that_are_cut_short_or_damaged_are_refused(name: str) -> None:
    body = gzip.compress(LINES, mtime=0) if name.endswith("gz") else zstd(LINES)
    for damaged in (body[:-20], body[:50], b"SECRET " * 20, body[:100] + b"SECRET" + body[100:]):
        with pytest.raises(BadRecord, match=r"damaged or cut short|not valid") as refused:
            read(name, damaged)
        assert "SECRET" not in str(refused.value)


def test_a_small_file_that_decompresses_to_much_is_refused_in_little_memory() -> None:
    bomb = gzip.compress(b'{"text": "a b"}\n' * 1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(BadRecord, match="over the limit of 1000000 bytes when it is unpacked"):
            read("a.jsonl.gz", bomb, max_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


def test_a_compression_ratio_that_no_text_has_is_refused_at_any_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "RATIO_APPLIES_FROM", 1 << 17)
    with pytest.raises(BadRecord, match="unpacks to more than 100 times its size"):
        read("a.txt.zst", zstd(b"a b\n\n" * 100_000))


def test_a_record_in_a_compressed_file_is_limited_too() -> None:
    with pytest.raises(BadRecord, match="line 1: longer than a record of 1000 bytes"):
        read("a.txt.gz", gzip.compress(b"a" * 1_000_000), max_record_bytes=1000)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.parquet.gz", "upload it as it is, without .gz"),
        ("a.zip", "unpack the archive"),
        ("a.xlsx", "save the table as CSV in UTF-8"),
        ("a.docx", "save the text as .txt"),
        ("a.jsonl.bz2", "of compressed files .gz and .zst are read"),
        ("a", "ends in none of .jsonl"),
        ("a.gz", "ends in none of .jsonl"),
    ],
)
def test_a_file_name_without_a_known_format_is_refused_with_advice(name: str, advice: str) -> None:
    with pytest.raises(UnknownFileKind, match=advice):
        detect_file_kind(name)
