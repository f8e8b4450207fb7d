"""`unlearn policies`: lists, shows, adds and deletes the policies that models are held to."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.cli.connection import open_client
from api.cli.data_folder import DEFAULT_DATA, DataOption
from api.cli.policy_text import bounds_table, requires_text

app = typer.Typer(help="List, show, add and delete policies: the bounds that a model is held to.", no_args_is_help=True)
out = Console(highlight=False)
Name = Annotated[str, typer.Argument(help="The name of the policy.")]
FIELDS = ("name", "description", "bounds", "requires")
"""The fields that make a policy, without those that the service adds."""


@app.command("list")
def list_policies(data: DataOption = DEFAULT_DATA) -> None:
    """List the policies, the built-in one among them."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("policy", "bounds", "made", "what for"):
        table.add_column(column, overflow="fold")
    with open_client(data) as client:
        for policy in client.policies.list():
            made = "built in" if policy.created_at is None else f"{policy.created_at:%Y-%m-%d}"
            table.add_row(policy.name, str(len(policy.bounds)), made, Text(policy.description or ""))
    out.print(table)


@app.command()
def show(
    name: Name,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON that 'add' takes, to change it and add it under a new name.")
    ] = False,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Show the bounds of a policy."""
    with open_client(data) as client:
        policy = client.policies.get(name).model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps({field: policy[field] for field in FIELDS}, indent=2, ensure_ascii=False))
        return
    if policy["description"]:
        out.print(policy["description"], markup=False)
    out.print(bounds_table(policy["bounds"]))
    out.print(requires_text(policy["requires"]))


@app.command()
def add(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A JSON file with name, description and bounds.")
    ],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Add a policy under its name. It never changes after that."""
    try:
        policy = json.loads(file.read_text())
    except ValueError:
        raise typer.BadParameter(f"{file} is not valid JSON") from None
    with open_client(data) as client:
        out.print(client.policies.create(policy).name)


@app.command()
def delete(name: Name, data: DataOption = DEFAULT_DATA) -> None:
    """Delete a policy that no model has pinned. Jobs keep the policy that they were submitted with."""
    with open_client(data) as client:
        client.policies.delete(name)
