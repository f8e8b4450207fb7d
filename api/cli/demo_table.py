"""The demo's tables: figures before and after, beside the model retrained without the forget set."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.cli.policy_text import missed_bounds, parts_text
from api.cli.progress import verdict_text

SETS = ("forget", "retain", "unseen", "general")
ROWS = ("perplexity", "accuracy", "extraction_strength", "verbatim_recall", "cloze", "exposure_rank")
COPY, COPY_ROWS = "int4", ("perplexity", "extraction_strength")
ATTACKS = ("loss", "zlib", "min_k_20", "min_k_40", "min_k++_20")


def figure_text(figures: dict[str, Any] | None) -> str:
    """Returns the figure with its 95 % interval, `51.2 48.1–54.6`, or a dash where there is no figure."""
    if figures is None:
        return "–"
    low, high = figures["low"], figures["high"]
    interval = f" {_short(low, 2)}–{_short(high, 2)}" if low is not None and high is not None else ""
    return _short(figures["value"], 3) + interval


def _short(value: float, decimals: int) -> str:
    """Returns the number with fewer decimals the larger it is, and from 1e5 on as a power of ten."""
    if abs(value) >= 1e5:
        return f"{value:.0e}"
    return f"{value:.{decimals if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"


def comparison_table(columns: Mapping[str, dict[str, Any] | None]) -> Table:
    """Returns a table with a column for each model that was measured. It fits into 80 columns.

    The rows are the figures of each set, then those of the forget set in the copy of 4 bits, then the attacks' AUCs.
    """
    models = {name: measured for name, measured in columns.items() if measured is not None}
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
        section(name, {row: [measured["sets"].get(name, {}).get(row) for measured in models.values()] for row in ROWS})
    copies = [measured["variants"].get(COPY, {}).get("forget", {}) for measured in models.values()]
    section("forget, in 4 bits", {row: [copy.get(row) for copy in copies] for row in COPY_ROWS})
    aucs = {
        attack: [measured["attacks"].get(attack, {}).get("auc") for measured in models.values()] for attack in ATTACKS
    }
    section("membership AUC", aucs)
    return table


def print_verdict(judgement: dict[str, Any] | None, console: Console) -> None:
    """Prints the verdict in a line, and each bound that counts and is not kept in a line of its own."""
    if judgement is None:
        return
    console.print(f"  [bold]{verdict_text(judgement)}[/bold]")
    if judgement.get("parts"):
        console.print(f"  {parts_text(judgement['parts'])}")
    kept = sum(bound["result"] == "passed" for bound in judgement["bounds"])
    console.print(f"  {kept} of {len(judgement['bounds'])} bounds are kept")
    for line in missed_bounds(judgement["bounds"]):
        console.print(f"    {escape(line)}")
