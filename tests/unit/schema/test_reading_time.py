"""The time to read a record grows with its length, for any record."""

import gc
import time
from collections.abc import Callable, Iterator

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


@pytest.fixture(autouse=True)
def no_garbage_collection() -> Iterator[None]:
    """A collection visits all objects of the test process, however short the record."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


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
        """The fastest of three tries: whatever else the machine does only adds to one."""
        chunks = [body(count).encode()]
        tries = []
        for _ in range(3):
            began = time.process_time()
            with pytest.raises(BadRecord):
                list(parse_records(chunks, format))
            tries.append(time.process_time() - began)
        return min(tries)

    seconds(100)
    assert seconds(30_000) < 40 * max(seconds(3_000), 0.005)
