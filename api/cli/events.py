"""`unlearn events`: the catalogue of a job's events on the terminal."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from api.cli.pages.events import page
from core.schema.event_types import EVENTS


def events(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the whole page docs/events.md.")] = False,
) -> None:
    """List the events that a job writes: the meaning of each, and its data."""
    if markdown:
        typer.echo(page(), nl=False)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("event", "level", "meaning", "data"):
        table.add_column(column, overflow="fold")
    for event_type, description in EVENTS.items():
        table.add_row(event_type, description.level, description.meaning, ", ".join(description.data))
    Console(highlight=False).print(table)
