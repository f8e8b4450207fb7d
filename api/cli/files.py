"""`unlearn files`: what was uploaded, and its deletion."""

from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from api.cli.connection import open_client
from api.cli.up import DEFAULT_DATA, DataOption

app = typer.Typer(help="Uploaded files", no_args_is_help=True)
out = Console(highlight=False)

COLUMNS = ("id", "purpose", "records", "bytes", "created_at", "expires_at", "filename")


@app.command("list")
def list_files(
    data: DataOption = DEFAULT_DATA,
    purpose: Annotated[str | None, typer.Option(help="forget, retain, unseen, general or probes")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="the newest so many")] = 20,
) -> None:
    """Show uploaded files, newest first, never their text."""
    query: dict[str, Any] = {"limit": limit} | ({"purpose": purpose} if purpose else {})
    with open_client(data) as client:
        page = client.get("/v1/files", **query)
    table = Table(*COLUMNS, box=box.SIMPLE_HEAD, pad_edge=False)
    for file in page["data"]:
        table.add_row(*(_cell(file[column]) for column in COLUMNS))
    out.print(table)
    if page["has_more"]:
        out.print(f"there are more: the API lists them after {page['last_id']}")


@app.command("delete")
def delete(
    file: Annotated[list[str], typer.Argument(metavar="FILE...", help="the files' ids")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Delete files for good: their keys are destroyed, then their bytes."""
    with open_client(data) as client:
        for id in file:
            client.delete(f"/v1/files/{quote(id, safe='')}")
            out.print(f"{id} is deleted")


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return text[:16].replace("T", " ") if text[4:5] == "-" and text[10:11] == "T" else text
