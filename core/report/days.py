"""Days in words, the same for every reader's language settings."""

from datetime import date

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def day_text(day: date) -> str:
    """Returns a day: `28 November 2026`."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
