"""`unlearn files`: lists and deletes uploaded files."""

from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from api.cli.connection import open_client
from api.cli.data_folder import DEFAULT_DATA, DataOption
from core.schema.files import Purpose

app = typer.Typer(help="List and delete uploaded files.", no_args_is_help=True)
out = Console(highlight=False)

COLUMNS = ("id", "purpose", "records", "bytes", "created_at", "expires_at", "filename")


@app.command("list")
def list_files(
    data: DataOption = DEFAULT_DATA,
    purpose: Annotated[
        Purpose | None, typer.Option(help="Only files for this purpose: forget, retain, unseen, general or probes.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The number of files to list.")] = 20,
) -> None:
    """List uploaded files, newest first, without their text."""
    with open_client(data) as client:
        page = client.files.page(purpose=purpose, limit=limit)
    table = Table(*COLUMNS, box=box.SIMPLE_HEAD, pad_edge=False)
    for file in page.data:
        table.add_row(*(_cell(getattr(file, column)) for column in COLUMNS))
    out.print(table)
    if page.has_more:
        out.print(f"there are more: the API lists them after {page.last_id}")


@app.command("delete")
def delete(
    file: Annotated[list[str], typer.Argument(metavar="FILE...", help="The ids of the files.")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Delete files for good: first the keys that decrypt them, then their bytes."""
    with open_client(data) as client:
        for file_id in file:
            client.files.delete(file_id)
            out.print(f"{file_id} is deleted")


def _cell(value: object) -> str:
    """The value as text; of a time the date, hour and minute."""
    text = "" if value is None else str(value)
    return text[:16].replace("T", " ") if text[4:5] == "-" and text[10:11] == "T" else text
