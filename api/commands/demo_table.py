"""Before and after, beside the model retrained without the forget set: tables for people."""

from typing import Any

from rich.table import Table

SETS = ("forget", "retain", "unseen", "general")
ROWS = ("perplexity", "accuracy", "extraction_strength")
ATTACKS = ("loss", "zlib", "min_k_20", "min_k_40", "min_k++_20")


def figure(figures: dict[str, Any] | None) -> str:
    """A figure with its 95 % interval, `51.2 [48.1, 54.6]`, or a dash where there is none."""
    if figures is None:
        return "–"
    value, low, high = figures["value"], figures["low"], figures["high"]
    digits = 3 if value < 10 else 1
    interval = f" [{low:.{digits}f}, {high:.{digits}f}]" if low is not None and high is not None else ""
    return f"{value:.{digits}f}{interval}"


def comparison(columns: dict[str, dict[str, Any] | None]) -> Table:
    """One column of measurements per model; one row per set and figure, then the attacks' AUCs."""
    table = Table(header_style="bold", title_justify="left", caption_justify="left")
    table.caption = "[95 % bootstrap intervals over records. AUC: forget against unseen, 0.5 cannot be told apart]"
    table.add_column("")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for name in SETS:
        if not any(one and name in one["sets"] for one in columns.values()):
            continue
        for number, row in enumerate(ROWS):
            cells = [figure(one["sets"].get(name, {}).get(row)) if one else "–" for one in columns.values()]
            table.add_row(name if number == 0 else "", row.replace("_", " "), *cells)
        table.add_section()
    for number, attack in enumerate(ATTACKS):
        cells = [figure(one["attacks"].get(attack, {}).get("auc")) if one else "–" for one in columns.values()]
        table.add_row("membership AUC" if number == 0 else "", attack, *cells)
    return table
