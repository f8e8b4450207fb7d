"""`unlearn policies`: lists, shows, adds and deletes the policies that models are held to."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from api.cli.policy_text import bounds_table, requires_text
from api.cli.session import Session, service_command

app = typer.Typer(help="List, show, add and delete policies: the bounds that a model is held to.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The name of the policy.")]
FIELDS = ("name", "description", "bounds", "requires")
"""The fields that make a policy, without those that the service adds."""


@app.command("list")
@service_command
def list_policies(session: Session) -> None:
    """List the policies, the built-in one among them."""
    listing = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("policy", "bounds", "made", "what for"):
        listing.add_column(column, overflow="fold")
    policies = list(session.client.policies.list())
    for policy in policies:
        made = "built in" if policy.created_at is None else f"{policy.created_at:%Y-%m-%d}"
        listing.add_row(policy.name, str(len(policy.bounds)), made, Text(policy.description or ""))
    session.show({"data": [policy.model_dump(mode="json") for policy in policies]}, listing)


@app.command()
@service_command
def show(session: Session, name: Name) -> None:
    """Show the bounds of a policy. With --json it is in the form that 'add' takes, to add it under a new name."""
    policy = session.client.policies.get(name).model_dump(mode="json", include=set(FIELDS))
    description = [policy["description"]] if policy["description"] else []
    session.show(
        {field: policy[field] for field in FIELDS},
        *description,
        bounds_table(policy["bounds"]),
        requires_text(policy["requires"]),
    )


@app.command()
@service_command
def add(
    session: Session,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A JSON file with name, description and bounds.")
    ],
) -> None:
    """Add a policy under its name. It never changes after that."""
    try:
        policy = json.loads(file.read_text())
    except ValueError:
        raise typer.BadParameter(f"{file} is not valid JSON") from None
    stored = session.client.policies.create(policy)
    session.show(stored, stored.name)


@app.command()
@service_command
def delete(session: Session, name: Name) -> None:
    """Delete a policy that no model has pinned. Jobs keep the policy that they were submitted with."""
    session.client.policies.delete(name)
    session.show({"deleted": [name]})
