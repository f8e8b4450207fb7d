"""The time to read a record grows with its length, for any record."""

import time
from collections.abc import Callable

import pytest

from core.schema.bad_record import BadRecord
from core.schema.files import FileFormat
from core.schema.parsing import parse_records


def object_of(value: str) -> Callable[[int], str]:
    return lambda count: '{"text": "a", ' + ", ".join(f'"{number}": {value}' for number in range(count)) + "}"


def repeated_key_at_the_end(count: int) -> str:
    return "{" + ", ".join(f'"{number}": 1' for number in [*range(count), count - 1]) + "}"


def columns(count: int) -> str:
    return ",".join(map(str, range(count))) + "\n"


@pytest.mark.parametrize(
    ("format", "body"),
    [
        ("json", object_of("[]")),
        ("json", object_of("{}")),
        ("json", repeated_key_at_the_end),
        ("jsonl", repeated_key_at_the_end),
        ("csv", columns),
    ],
)
def test_a_record_ten_times_as_long_takes_about_ten_times_as_long(
    format: FileFormat, body: Callable[[int], str]
) -> None:
    def seconds(count: int) -> float:
        chunks = [body(count).encode()]
        began = time.process_time()
        with pytest.raises(BadRecord):
            list(parse_records(chunks, format))
        return time.process_time() - began

    seconds(100)
    assert seconds(30_000) < 40 * max(seconds(3_000), 0.005)
