"""Numbers in words: few digits, no powers of ten."""

from core.schema.evaluation import Figure

SMALLEST = 0.001


def number_text(value: float) -> str:
    """Returns a number with at most three digits after the point: `0.005`, `12.3`, `1,234`."""
    size = abs(value)
    if size == 0:
        return "0"
    if size < SMALLEST / 2:
        return "under 0.001" if value > 0 else "just under 0"
    text = f"{size:.3f}".rstrip("0").rstrip(".") if size < 1 else f"{size:.3g}" if size < 999.5 else f"{size:,.0f}"
    return text if value > 0 else f"−{text}"


def interval_text(low: float | None, high: float | None) -> str | None:
    """Returns an interval: `0.001 to 0.009`. None: there is none, or the number is known exactly."""
    return None if low is None or high is None or low == high else f"{number_text(low)} to {number_text(high)}"


def level_text(level: float) -> str:
    """Returns the level of an interval: `95 %`, `98.3 %`."""
    return f"{100 * level:.3g} %"


def figure_text(figure: Figure | None) -> str:
    """Returns a figure with its interval: `12.3 (11.9 to 12.8)`."""
    if figure is None:
        return "not measured"
    interval = interval_text(figure.low, figure.high)
    return number_text(figure.value) if interval is None else f"{number_text(figure.value)} ({interval})"


def limits_text(low: float | None, high: float | None) -> str:
    """Returns limits: `at most 0.1`, `at least 0.95`, `between 0.5 and 2`."""
    if low is None:
        return "of any value" if high is None else f"at most {number_text(high)}"
    return f"at least {number_text(low)}" if high is None else f"between {number_text(low)} and {number_text(high)}"


def records_text(count: int | None) -> str:
    """Returns a count of records: `1 record`, `60 records`."""
    if count is None:
        return "an unknown number of records"
    return "1 record" if count == 1 else f"{count:,} records"
