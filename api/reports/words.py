"""Times, sizes and results in words, the same for every reader's language settings."""

from datetime import UTC, datetime

from api.reports.blocks import Badge, Cell, Code
from core.report.days import day_text
from core.schema.report import ReportKey

NONE = "–"
_RESULTS: dict[str, Badge] = {
    "passed": Badge("passed", "good"),
    "failed": Badge("failed", "bad"),
    "underpowered": Badge("cannot be told", "open"),
    "not_judged": Badge("not judged", "open"),
}


def time_text(time: datetime | None) -> str:
    """Returns a time in UTC: `28 November 2026, 07:31:05 UTC`."""
    if time is None:
        return NONE
    utc = time.astimezone(UTC)
    return f"{day_text(utc.date())}, {utc:%H:%M:%S} UTC"


def bytes_text(size: int) -> str:
    """Returns a size: `14.2 MB`."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


def key_text(key: ReportKey | None) -> str:
    """Returns a key's name with its id; without a key, the service acted by itself."""
    if key is None:
        return "the service itself"
    return f"key “{key.name}” ({key.id})" if key.name else key.id


def code_or_none(text: str | None) -> Cell:
    """Returns an identifier, or a dash."""
    return NONE if text is None else Code(text)


def result_badge(result: str) -> Badge:
    """Returns a result or a verdict as a badge."""
    return _RESULTS[result]
