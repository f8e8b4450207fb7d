"""`unlearn events`: the catalogue of a job's events on the terminal."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from api.cli.output import JsonOption, json_text
from api.cli.pages.events import page
from core.schema.event_types import EVENTS, EventDescription


def events(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the whole page docs/events.md.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the events that a job writes: the meaning of each, and its data."""
    if markdown:
        typer.echo(page(), nl=False)
        return
    if as_json:
        typer.echo(json_text({"data": [{"type": name, **_describe(event)} for name, event in EVENTS.items()]}))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("event", "level", "meaning", "data"):
        table.add_column(column, overflow="fold")
    for event_type, description in EVENTS.items():
        table.add_row(event_type, description.level, description.meaning, ", ".join(description.data))
    Console(highlight=False).print(table)


def _describe(event: EventDescription) -> dict[str, Any]:
    return {"level": event.level, "meaning": event.meaning, "data": dict(event.data)}
