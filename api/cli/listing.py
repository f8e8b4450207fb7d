"""Lists on the terminal: aligned tables, and times, sizes and durations as people read them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

from rich import box
from rich.table import Table
from rich.text import Text

UNITS = ("B", "kB", "MB", "GB", "TB")


def table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, numbers: Iterable[str] = ()) -> Table:
    """Returns a table with a row for each entry. The columns of `numbers` are aligned on the right."""
    listing = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    right = set(numbers)
    for column in columns:
        listing.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        listing.add_row(*(Text(cell_text(value)) for value in row))
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
