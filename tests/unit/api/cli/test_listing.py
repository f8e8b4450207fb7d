"""Lists on the terminal."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from rich.console import Console

from api.cli.listing import cell_text, duration_text, fields, size_text, table


def text_of(renderable: object) -> list[str]:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(renderable)
    return [line.rstrip() for line in captured.get().splitlines() if line.strip(" ─")]


def test_numbers_are_aligned_on_the_right_and_markup_is_text() -> None:
    lines = text_of(table(("name", "records"), [("[red]a", 5), ("b", 1200)], width=80, numbers=["records"]))
    assert [line.split() for line in lines] == [["name", "records"], ["[red]a", "5"], ["b", "1,200"]]
    assert len({len(line) for line in lines}) == 1


def test_a_narrow_terminal_gets_the_first_columns_whole() -> None:
    columns, row = ("job", "status", "model"), ("job-0190", "queued", "a-long-name")
    assert text_of(table(columns, [row], width=20)) == ["job       status", "job-0190  queued"]
    assert text_of(table(columns, [], width=80)) == ["job  status  model"]


def test_fields_without_a_value_take_no_line() -> None:
    assert text_of(fields({"status": "ready", "error": None, "head": ""})) == ["status  ready"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 11, 28, 11, 30, tzinfo=timezone(timedelta(hours=2))), "2026-11-28 09:30"),
        (datetime(2026, 11, 28, 9, 30, tzinfo=UTC), "2026-11-28 09:30"),
        (date(2026, 12, 20), "2026-12-20"),
        (None, ""),
        (True, "yes"),
        (12345, "12,345"),
    ],
)
def test_a_cell_is_written_as_people_read_it(value: object, text: str) -> None:
    assert cell_text(value) == text


def test_sizes_and_durations_have_units() -> None:
    assert [size_text(size) for size in (0, 999, 1000, 1_400_000_000)] == ["0 B", "999 B", "1.0 kB", "1.4 GB"]
    seconds = (0.4, 59, 60, 125, 3600, 11400, 187200)
    words = ["0 s", "59 s", "1 min 0 s", "2 min 5 s", "1 h 0 min", "3 h 10 min", "2 d 4 h"]
    assert [duration_text(it) for it in seconds] == words
