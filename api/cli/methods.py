"""`unlearn methods`: the catalogue of methods on the terminal."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from api.cli.output import JsonOption, json_text
from api.cli.pages.methods import page
from core.unlearning.objectives import METHODS, describe


def methods(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the whole page docs/methods.md.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the unlearning methods: what each does, which sets it needs, and its paper."""
    if markdown:
        typer.echo(page(), nl=False)
        return
    if as_json:
        typer.echo(json_text({"data": [describe(name) for name in sorted(METHODS)]}))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("method", "needs", "what it does", "source"):
        table.add_column(column, overflow="fold")
    for name in sorted(METHODS):
        method = describe(name)
        source = method["source"]
        table.add_row(name, ", ".join(method["needs"]), method["summary"], source.get("url") or source.get("title", ""))
    Console(highlight=False).print(table)
