"""Before and after, beside the model retrained without the forget set: tables for people."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.cli.policy_text import missed_bounds
from api.cli.progress import verdict_text

SETS = ("forget", "retain", "unseen", "general")
ROWS = ("perplexity", "accuracy", "extraction_strength", "verbatim_recall", "cloze", "exposure_rank")
COPY, COPY_ROWS = "int4", ("perplexity", "extraction_strength")
ATTACKS = ("loss", "zlib", "min_k_20", "min_k_40", "min_k++_20")


def figure_text(figures: dict[str, Any] | None) -> str:
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


def comparison_table(columns: Mapping[str, dict[str, Any] | None]) -> Table:
    """One column of measurements per model, those that there are; one row per set and figure, then of the forget set
    in the copy of 4 bits, then the attacks' AUCs. Fits 80 columns."""
    models = {name: one for name, one in columns.items() if one is not None}
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right", no_wrap=True)

    def section(title: str, rows: Mapping[str, list[dict[str, Any] | None]]) -> None:
        if shown := {name: cells for name, cells in rows.items() if any(cells)}:
            table.add_section()
            table.add_row(f"[bold]{title}[/bold]")
            for name, cells in shown.items():
                table.add_row(f"  {name.replace('_', ' ')}", *map(figure_text, cells))

    for name in SETS:
        section(name, {row: [one["sets"].get(name, {}).get(row) for one in models.values()] for row in ROWS})
    copies = [one["variants"].get(COPY, {}).get("forget", {}) for one in models.values()]
    section("forget, in 4 bits", {row: [copy.get(row) for copy in copies] for row in COPY_ROWS})
    aucs = {attack: [one["attacks"].get(attack, {}).get("auc") for one in models.values()] for attack in ATTACKS}
    section("membership AUC", aucs)
    return table


def print_verdict(judgement: dict[str, Any] | None, console: Console) -> None:
    """The verdict in a line, and each bound that stands in its way in a line of its own."""
    if judgement is None:
        return
    console.print(f"  [bold]{verdict_text(judgement)}[/bold]")
    kept = sum(one["result"] == "passed" for one in judgement["bounds"])
    console.print(f"  {kept} of {len(judgement['bounds'])} bounds are kept")
    for line in missed_bounds(judgement["bounds"]):
        console.print(f"    {escape(line)}")
