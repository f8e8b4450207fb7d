"""`unlearn measurements`: the catalogue of measurements on the terminal."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from api.cli.output import JsonOption, json_text
from api.cli.pages.measurements import page
from core.evaluation.measurements import MEASUREMENTS


def measurements(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the whole page docs/measurements.md.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the measurements: what each says, its group, and which sets it needs."""
    if markdown:
        typer.echo(page(), nl=False)
        return
    if as_json:
        typer.echo(json_text({"data": [_describe(name) for name in sorted(MEASUREMENTS)]}))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("measurement", "group", "needs", "what it says"):
        table.add_column(column, overflow="fold")
    for name, measurement in sorted(MEASUREMENTS.items()):
        needs = ", ".join(sorted(measurement.needs))
        table.add_row(name, measurement.group or "by name", needs, measurement.summary.replace("`", ""))
    Console(highlight=False).print(table)


def _describe(name: str) -> dict[str, Any]:
    measurement = MEASUREMENTS[name]
    return {
        "name": name,
        "group": measurement.group,
        "needs": sorted(measurement.needs),
        "summary": measurement.summary,
    }
