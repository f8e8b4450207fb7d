"""`unlearn methods`: the catalogue on the terminal."""

from rich.console import Console
from rich.table import Table

from core.unlearning.objectives import METHODS, describe


def methods() -> None:
    """List the unlearning methods: what each does, what it needs, where it comes from."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("method", "needs", "what it does", "source"):
        table.add_column(column, overflow="fold")
    for name in sorted(METHODS):
        about = describe(name)
        source = about["source"]
        table.add_row(name, ", ".join(about["needs"]), about["summary"], source.get("url") or source.get("title", ""))
    Console(highlight=False).print(table)
