"""`unlearn policies`: what models are held to, listed, shown, kept and deleted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.cli.connection import open_client
from api.cli.policy_text import bounds_table
from api.cli.up import DEFAULT_DATA, DataOption
from api.client import Client

app = typer.Typer(help="Policies: what models are held to", no_args_is_help=True)
out = Console(highlight=False)
Name = Annotated[str, typer.Argument(help="the policy's name")]
ABOUT = ("name", "description", "bounds")
"""What a policy is, without who keeps it."""


@app.command("list")
def every(data: DataOption = DEFAULT_DATA) -> None:
    """List the policies, the built-in one among them."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("policy", "bounds", "made", "what for"):
        shown.add_column(column, overflow="fold")
    with open_client(data) as client:
        for policy in _all(client):
            made = "built in" if policy["built_in"] else policy["created_at"][:10]
            shown.add_row(policy["name"], str(len(policy["bounds"])), made, Text(policy["description"] or ""))
    out.print(shown)


@app.command()
def show(
    name: Name,
    as_json: Annotated[
        bool, typer.Option("--json", help="as 'add' takes it, to change and keep under a new name")
    ] = False,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Show a policy's bounds."""
    with open_client(data) as client:
        policy = client.get(f"/v1/policies/{quote(name, safe='')}")
    if as_json:
        typer.echo(json.dumps({part: policy[part] for part in ABOUT}, indent=2, ensure_ascii=False))
        return
    if policy["description"]:
        out.print(policy["description"], markup=False)
    out.print(bounds_table(policy["bounds"]))


@app.command()
def add(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON: name, description, bounds")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Keep a policy under its name; it never changes after that."""
    try:
        policy = json.loads(file.read_text())
    except ValueError:
        raise typer.BadParameter(f"{file} is not valid JSON") from None
    with open_client(data) as client:
        out.print(client.post("/v1/policies", policy)["name"])


@app.command()
def delete(name: Name, data: DataOption = DEFAULT_DATA) -> None:
    """Delete a policy that no model has pinned; jobs keep what they were submitted with."""
    with open_client(data) as client:
        client.delete(f"/v1/policies/{quote(name, safe='')}")


def _all(client: Client) -> Iterator[dict[str, Any]]:
    page = client.get("/v1/policies", limit=100)
    yield from page["data"]
    while page["has_more"]:
        page = client.get("/v1/policies", limit=100, after=page["last_id"])
        yield from page["data"]
