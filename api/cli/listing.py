"""Lists on the terminal: aligned tables, and times, sizes and durations as people read them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime

from rich.table import Table
from rich.text import Text

GAP = 2
"""Spaces between two columns."""
UNITS = ("B", "kB", "MB", "GB", "TB")


def table(
    columns: Sequence[str], rows: Iterable[Iterable[object]], *, width: int, numbers: Iterable[str] = ()
) -> Table:
    """Returns a table with a row for each entry. The columns of `numbers` are aligned on the right.

    The most important columns come first: those that a terminal of this width has no room for are left out.
    """
    cells = [[cell_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    shown = len(columns)
    while shown > 1 and sum(widths[:shown]) + GAP * (shown - 1) > width:
        shown -= 1
    right = set(numbers)
    listing = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for column in columns[:shown]:
        listing.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    for row in cells:
        listing.add_row(*map(Text, row[:shown]))
    return listing


def fields(values: Mapping[str, object]) -> Table:
    """Returns a table with a line for each field that has a value."""
    listing = Table(box=None, show_header=False, pad_edge=False)
    listing.add_column(style="bold", no_wrap=True)
    listing.add_column(overflow="fold")
    for name, value in values.items():
        if value is not None and value != "":
            listing.add_row(name, Text(cell_text(value)))
    return listing


def cell_text(value: object) -> str:
    """Returns a value as people read it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
        case date():
            return value.isoformat()
        case int():
            return f"{value:,}"
    return str(value)


def size_text(size: int) -> str:
    """Returns a number of bytes: `12 B`, `1.4 GB`."""
    amount, unit = float(size), 0
    while amount >= 1000 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.0f} B" if unit == 0 else f"{amount:.1f} {UNITS[unit]}"


def duration_text(seconds: float) -> str:
    """Returns a duration in its two largest units: `8 s`, `2 min 5 s`, `3 h 10 min`, `2 d 4 h`."""
    whole = round(seconds)
    for larger, smaller, size, part in (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size} {larger} {whole % size // part} {smaller}"
    return f"{whole} s"
