"""Before and after, beside the model retrained without the forget set: tables for people."""

from typing import Any

from rich import box
from rich.table import Table

SETS = ("forget", "retain", "unseen", "general")
ROWS = ("perplexity", "accuracy", "extraction_strength")
ATTACKS = ("loss", "zlib", "min_k_20", "min_k_40", "min_k++_20")


def figure(figures: dict[str, Any] | None) -> str:
    """A figure with its 95 % interval, `51.2 48.1–54.6`, or a dash where there is none."""
    if figures is None:
        return "–"
    low, high = figures["low"], figures["high"]
    interval = f" {_short(low, 2)}–{_short(high, 2)}" if low is not None and high is not None else ""
    return _short(figures["value"], 3) + interval


def _short(value: float, decimals: int) -> str:
    """Fewer decimals the larger it is; what is beyond all measure by its power of ten."""
    if abs(value) >= 1e5:
        return f"{value:.0e}"
    return f"{value:.{decimals if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"


def comparison(columns: dict[str, dict[str, Any] | None]) -> Table:
    """One column of measurements per model; one row per set and figure, then the attacks' AUCs. Fits 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)

    def section(title: str) -> None:
        table.add_section()
        table.add_row(f"[bold]{title}[/bold]")

    def cells(group: str, name: str, inner: str) -> list[str]:
        return [figure((one or {}).get(group, {}).get(name, {}).get(inner)) for one in columns.values()]

    for name in SETS:
        if not any(one and name in one["sets"] for one in columns.values()):
            continue
        section(name)
        for row in ROWS:
            table.add_row(f"  {row.replace('_', ' ')}", *cells("sets", name, row))
    section("membership AUC")
    for attack in ATTACKS:
        table.add_row(f"  {attack}", *cells("attacks", attack, "auc"))
    return table
