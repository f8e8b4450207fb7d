"""Arithmetic on calendar months, as deadlines in months are counted."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from core.schema.deadlines import add_months, default_due, latest_due


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        ("2026-11-28", 1, "2026-12-28"),
        ("2026-12-28", 1, "2027-01-28"),
        ("2026-01-31", 1, "2026-02-28"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2100-01-31", 1, "2100-02-28"),  # no leap year
        ("2026-02-28", 1, "2026-03-28"),
        ("2026-08-31", 1, "2026-09-30"),
        ("2026-12-31", 2, "2027-02-28"),
        ("2026-10-31", 14, "2027-12-31"),
        ("2026-11-01", 1, "2026-12-01"),
        ("9999-12-31", 2, "9999-12-31"),
        ("9999-11-30", 1, "9999-12-30"),
    ],
)
def test_a_month_later_is_the_same_day_or_the_months_last(day: str, months: int, expected: str) -> None:
    assert add_months(date.fromisoformat(day), months) == date.fromisoformat(expected)


def test_every_day_has_a_due_day_in_the_next_month_and_none_skips_a_month() -> None:
    day = date(2026, 1, 1)
    while day < date(2029, 1, 1):
        later = add_months(day, 1)
        assert (later.year * 12 + later.month) - (day.year * 12 + day.month) == 1
        assert later.day == day.day or (later + timedelta(days=1)).month != later.month
        day += timedelta(days=1)


def test_the_day_of_receipt_is_the_day_in_utc() -> None:
    east = timezone(timedelta(hours=14))
    assert default_due(datetime(2026, 3, 1, 1, tzinfo=east)) == date(2026, 3, 28)
    assert default_due(datetime(2026, 3, 1, 1, tzinfo=UTC)) == date(2026, 4, 1)


def test_an_extension_ends_two_months_after_the_first_deadline() -> None:
    assert latest_due(date(2026, 12, 31)) == date(2027, 2, 28)
